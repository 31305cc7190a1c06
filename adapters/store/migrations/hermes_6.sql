CREATE TABLE suppressions (
    tenant TEXT NOT NULL,
    key INTEGER NOT NULL,
    reason TEXT NOT NULL,
    channel TEXT NOT NULL,
    categories INTEGER NOT NULL,
    masked TEXT NOT NULL,
    source TEXT NOT NULL,
    imported INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (tenant, key, reason)
) WITHOUT ROWID;

CREATE INDEX suppressions_by_time
    ON suppressions (tenant, created_at DESC, key DESC, reason DESC) WHERE imported = 0;

CREATE TABLE suppression_changes (
    number INTEGER NOT NULL,
    key INTEGER NOT NULL,
    held BLOB NOT NULL,
    changed_at REAL NOT NULL,
    PRIMARY KEY (number, key)
) WITHOUT ROWID;

CREATE TABLE suppression_state (
    id INTEGER PRIMARY KEY,
    list TEXT NOT NULL,
    key_check BLOB NOT NULL,
    rebuilt INTEGER NOT NULL
);

CREATE TABLE suppression_imports (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    actor TEXT NOT NULL,
    channel TEXT NOT NULL,
    categories INTEGER NOT NULL,
    status TEXT NOT NULL,
    lines INTEGER NOT NULL,
    added INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    faults_json TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ended_at REAL
);

CREATE INDEX suppression_imports_by_time ON suppression_imports (tenant, created_at DESC, id DESC);

CREATE TABLE quotas (
    tenant TEXT NOT NULL,
    day TEXT NOT NULL,
    taken INTEGER NOT NULL,
    PRIMARY KEY (tenant, day)
) WITHOUT ROWID;
