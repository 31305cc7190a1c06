ALTER TABLE tenants ADD COLUMN settings_json TEXT NOT NULL DEFAULT '{}';

UPDATE tenants SET settings_json = '{"tier":"custom"}';

ALTER TABLE api_keys ADD COLUMN mode TEXT NOT NULL DEFAULT 'live';

ALTER TABLE api_keys ADD COLUMN scopes_json TEXT;

ALTER TABLE api_keys ADD COLUMN expires_at REAL;

ALTER TABLE api_keys ADD COLUMN last_used_at REAL;

ALTER TABLE api_keys ADD COLUMN replaced_by TEXT;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);

CREATE INDEX api_keys_by_time ON api_keys (created_at, id);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    tenant TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail_json TEXT NOT NULL
);

CREATE INDEX audit_by_tenant ON audit (tenant, id);
