CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    webhook_secret TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    secret_sha256 BLOB NOT NULL,
    note TEXT NOT NULL,
    created_at TEXT NOT NULL,
    revoked_at TEXT
);

CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    status TEXT NOT NULL,
    channel TEXT,
    created_at REAL NOT NULL,
    ended_at REAL,
    order_json BLOB NOT NULL,
    record_json BLOB
);

CREATE INDEX messages_by_time ON messages (tenant, created_at DESC, id DESC);

CREATE TABLE message_metadata (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (tenant, key, value, message)
) WITHOUT ROWID;

CREATE TABLE late_receipts (
    message TEXT NOT NULL,
    receipt TEXT NOT NULL,
    entry_json BLOB NOT NULL,
    PRIMARY KEY (message, receipt)
) WITHOUT ROWID;

CREATE TABLE attempts (
    message TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    submission_json BLOB,
    PRIMARY KEY (message, attempt)
) WITHOUT ROWID;
