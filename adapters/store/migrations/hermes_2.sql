CREATE TABLE adapter_versions (
    tenant TEXT NOT NULL,
    adapter TEXT NOT NULL,
    version TEXT NOT NULL,
    component TEXT NOT NULL,
    manifest_json BLOB NOT NULL,
    size INTEGER NOT NULL,
    published_at REAL NOT NULL,
    removed_at REAL,
    PRIMARY KEY (tenant, adapter, version)
) WITHOUT ROWID;

CREATE TABLE adapters (
    tenant TEXT NOT NULL,
    adapter TEXT NOT NULL,
    active TEXT,
    previous TEXT,
    priority INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    removed_at REAL,
    health_json BLOB,
    changed INTEGER NOT NULL,
    PRIMARY KEY (tenant, adapter)
) WITHOUT ROWID;

CREATE INDEX adapters_by_change ON adapters (changed);

CREATE TABLE adapter_configuration (
    tenant TEXT NOT NULL,
    adapter TEXT NOT NULL,
    key TEXT NOT NULL,
    value_json BLOB,
    sealed BLOB,
    PRIMARY KEY (tenant, adapter, key)
) WITHOUT ROWID;

CREATE TABLE adapter_values (
    tenant TEXT NOT NULL,
    adapter TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (tenant, adapter, key)
) WITHOUT ROWID;

CREATE TABLE adapter_changes (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL
);

INSERT INTO adapter_changes (id, number) VALUES (1, 0);
