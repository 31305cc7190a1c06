CREATE TABLE sections (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
);
