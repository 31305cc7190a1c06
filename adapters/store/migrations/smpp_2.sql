CREATE TABLE carriers (
    name TEXT PRIMARY KEY,
    config_json TEXT NOT NULL,
    state TEXT NOT NULL,
    updated_at REAL NOT NULL
);

CREATE TABLE inbound (
    id TEXT PRIMARY KEY,
    carrier TEXT NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    reference INTEGER NOT NULL,
    total INTEGER NOT NULL,
    number INTEGER NOT NULL,
    data_coding INTEGER NOT NULL,
    payload BLOB NOT NULL,
    digest BLOB NOT NULL,
    received_at REAL NOT NULL,
    forwarded INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX inbound_by_message
    ON inbound (carrier, source, destination, reference, total, number);

CREATE INDEX inbound_waiting ON inbound (received_at) WHERE forwarded = 0;

CREATE INDEX inbound_by_time ON inbound (received_at);
