CREATE TABLE routes (
    name TEXT NOT NULL PRIMARY KEY,
    place INTEGER NOT NULL,
    route_json TEXT NOT NULL,
    changed_at REAL NOT NULL
);

CREATE TABLE route_quality (
    way TEXT NOT NULL,
    country TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    latency INTEGER NOT NULL,
    PRIMARY KEY (way, country, bucket)
) WITHOUT ROWID;

CREATE INDEX route_quality_by_time ON route_quality (bucket);
