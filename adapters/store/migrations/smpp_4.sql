ALTER TABLE receipts ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;

DROP INDEX receipts_to_forward;

CREATE INDEX receipts_to_forward ON receipts (owner, id) WHERE forwarded = 0;
