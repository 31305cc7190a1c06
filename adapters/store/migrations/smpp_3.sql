CREATE TABLE parts_3 (
    id INTEGER PRIMARY KEY,
    message TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    carrier TEXT NOT NULL,
    destination TEXT NOT NULL,
    reference INTEGER NOT NULL,
    receipt_ref TEXT NOT NULL,
    begun_at REAL NOT NULL,
    state TEXT NOT NULL,
    smsc_id TEXT,
    command_status INTEGER,
    released INTEGER NOT NULL DEFAULT 0,
    owner INTEGER NOT NULL DEFAULT 0,
    UNIQUE (message, attempt, part)
);

INSERT INTO parts_3 (
    message, attempt, part, parts, carrier, destination, reference,
    receipt_ref, begun_at, state, smsc_id, command_status, released)
SELECT message, attempt, part, parts, carrier, destination, reference,
    receipt_ref, begun_at, state, smsc_id, command_status, released
FROM parts ORDER BY begun_at;

DROP TABLE parts;

ALTER TABLE parts_3 RENAME TO parts;

CREATE INDEX parts_by_smsc_id ON parts (carrier, smsc_id) WHERE smsc_id IS NOT NULL;

CREATE INDEX parts_by_reference ON parts (carrier, reference) WHERE state = 'begun';

CREATE TABLE receipts_3 (
    id INTEGER PRIMARY KEY,
    carrier TEXT NOT NULL,
    smsc_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    stat TEXT NOT NULL,
    error TEXT,
    final INTEGER NOT NULL,
    destination TEXT NOT NULL,
    reference INTEGER,
    received_at REAL NOT NULL,
    forwarded INTEGER NOT NULL DEFAULT 0,
    UNIQUE (carrier, smsc_id, state)
);

INSERT INTO receipts_3 (
    carrier, smsc_id, state, stat, error, final, destination, reference,
    received_at, forwarded)
SELECT carrier, smsc_id, state, stat, error, final, destination, reference,
    received_at, forwarded
FROM receipts ORDER BY received_at;

DROP TABLE receipts;

ALTER TABLE receipts_3 RENAME TO receipts;

CREATE INDEX receipts_to_forward ON receipts (id) WHERE forwarded = 0;
