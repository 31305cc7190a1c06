CREATE TABLE callback_endpoints (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events_json TEXT NOT NULL,
    created_at REAL NOT NULL,
    disabled_at REAL,
    disabled_because TEXT,
    removed_at REAL
);

CREATE INDEX callback_endpoints_by_tenant ON callback_endpoints (tenant, created_at);

CREATE TABLE callback_secrets (
    endpoint TEXT NOT NULL,
    number INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    PRIMARY KEY (endpoint, number)
) WITHOUT ROWID;

CREATE TABLE callback_health (
    endpoint TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    address TEXT NOT NULL,
    failures INTEGER NOT NULL,
    failing_since REAL,
    probe_at REAL,
    delivered_at REAL,
    failed_at REAL,
    error TEXT
);

CREATE INDEX callback_health_by_tenant ON callback_health (tenant, endpoint);

CREATE TABLE callback_events (
    number INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    message TEXT NOT NULL,
    type TEXT NOT NULL,
    url TEXT,
    body BLOB NOT NULL,
    created_at REAL NOT NULL,
    due_at REAL,
    tries INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    settled_at REAL,
    error TEXT
);

CREATE UNIQUE INDEX callback_events_once ON callback_events (endpoint, id);

CREATE INDEX callback_events_due ON callback_events (endpoint, due_at, number) WHERE due_at IS NOT NULL;

CREATE INDEX callback_events_by_message ON callback_events (message, endpoint, number);

CREATE INDEX callback_events_by_time ON callback_events (endpoint, created_at, number);

CREATE INDEX callback_events_given_up ON callback_events (endpoint, created_at, number) WHERE due_at IS NULL AND delivered = 0;

CREATE TABLE templates (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    active INTEGER NOT NULL,
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    archived_at REAL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

CREATE TABLE template_versions (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    definition_json BLOB NOT NULL,
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL
);

CREATE UNIQUE INDEX template_versions_by_name ON template_versions (tenant, name, version);
