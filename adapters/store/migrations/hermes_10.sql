ALTER TABLE messages ADD COLUMN mode TEXT NOT NULL DEFAULT 'live';

ALTER TABLE messages ADD COLUMN redacted_at REAL;

ALTER TABLE messages ADD COLUMN recipient INTEGER;

CREATE INDEX messages_by_recipient ON messages (recipient, id) WHERE recipient IS NOT NULL;

DROP INDEX messages_by_time;

CREATE INDEX messages_by_time ON messages (tenant, mode, created_at DESC, id DESC);

CREATE INDEX messages_to_redact ON messages (tenant, mode, created_at, id)
    WHERE redacted_at IS NULL;

CREATE TABLE message_recipients (
    address INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (address, message)
) WITHOUT ROWID;

CREATE TABLE erasures (
    tenant TEXT NOT NULL,
    subject BLOB NOT NULL,
    channel TEXT NOT NULL,
    address INTEGER NOT NULL,
    asked_at REAL NOT NULL,
    look_at REAL NOT NULL,
    erased INTEGER NOT NULL,
    PRIMARY KEY (tenant, subject)
) WITHOUT ROWID;

CREATE INDEX erasures_by_turn ON erasures (look_at);

CREATE TABLE duties (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    until REAL NOT NULL
);
