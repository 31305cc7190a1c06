CREATE TABLE senders (
    tenant TEXT NOT NULL,
    folded TEXT NOT NULL,
    sender TEXT NOT NULL,
    status TEXT NOT NULL,
    countries_json TEXT NOT NULL,
    reserved INTEGER NOT NULL,
    note TEXT NOT NULL,
    changed_at REAL NOT NULL,
    PRIMARY KEY (tenant, folded)
) WITHOUT ROWID;

CREATE TABLE recent_content (
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    message TEXT NOT NULL,
    seen_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (tenant, digest)
) WITHOUT ROWID;

CREATE INDEX recent_content_by_expiry ON recent_content (expires_at);

CREATE TABLE number_operators (
    digest BLOB PRIMARY KEY,
    operator TEXT,
    expires_at REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX number_operators_by_expiry ON number_operators (expires_at);
