CREATE TABLE prices (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    currency TEXT NOT NULL,
    channel TEXT NOT NULL,
    route TEXT NOT NULL,
    prefix TEXT NOT NULL,
    valid_from REAL NOT NULL,
    amount INTEGER NOT NULL,
    rule TEXT NOT NULL
);

CREATE UNIQUE INDEX prices_by_place
    ON prices (tenant, currency, channel, route, prefix, valid_from);

CREATE TABLE accounts (
    tenant TEXT NOT NULL PRIMARY KEY,
    currency TEXT NOT NULL,
    credit INTEGER,
    short INTEGER NOT NULL,
    granted INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX accounts_short ON accounts (tenant) WHERE short > 0;

CREATE TABLE account_entries (
    tenant TEXT NOT NULL,
    reference TEXT NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    note TEXT NOT NULL,
    actor TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (tenant, reference)
) WITHOUT ROWID;

CREATE INDEX account_entries_by_time ON account_entries (tenant, at, reference);

CREATE TABLE ledger (
    message TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    tenant TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    channel TEXT NOT NULL,
    route TEXT NOT NULL,
    segments INTEGER NOT NULL,
    at REAL NOT NULL,
    rule TEXT NOT NULL,
    PRIMARY KEY (message, attempt, kind)
) WITHOUT ROWID;

CREATE INDEX ledger_reserved ON ledger (at) WHERE kind = 'reserve';

CREATE TABLE balances (
    tenant TEXT NOT NULL,
    currency TEXT NOT NULL,
    shard INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (tenant, currency, shard)
) WITHOUT ROWID;

CREATE TABLE usage (
    tenant TEXT NOT NULL,
    day TEXT NOT NULL,
    channel TEXT NOT NULL,
    route TEXT NOT NULL,
    currency TEXT NOT NULL,
    shard INTEGER NOT NULL,
    charges INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    open INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    refunds INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, channel, route, currency, shard)
) WITHOUT ROWID;

CREATE INDEX usage_by_day ON usage (day, tenant);

CREATE TABLE leases (
    owner TEXT NOT NULL,
    tenant TEXT NOT NULL,
    amount INTEGER NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (owner, tenant)
) WITHOUT ROWID;

CREATE INDEX leases_by_tenant ON leases (tenant);
