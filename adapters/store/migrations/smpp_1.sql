CREATE TABLE parts (
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
    PRIMARY KEY (message, attempt, part)
) WITHOUT ROWID;

CREATE INDEX parts_by_smsc_id ON parts (carrier, smsc_id) WHERE smsc_id IS NOT NULL;

CREATE INDEX parts_by_reference ON parts (carrier, reference) WHERE state = 'begun';

CREATE TABLE receipts (
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
    PRIMARY KEY (carrier, smsc_id, state)
) WITHOUT ROWID;

CREATE INDEX receipts_to_forward ON receipts (received_at) WHERE forwarded = 0;
