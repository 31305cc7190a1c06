CREATE TABLE adapter_unread (
    tenant TEXT NOT NULL,
    adapter TEXT NOT NULL,
    webhook TEXT NOT NULL,
    received_at REAL NOT NULL,
    failed_at REAL NOT NULL,
    tries INTEGER NOT NULL,
    kind TEXT NOT NULL,
    given_up INTEGER NOT NULL,
    PRIMARY KEY (tenant, adapter, webhook)
) WITHOUT ROWID;

CREATE INDEX adapter_unread_by_end ON adapter_unread (given_up, failed_at);
