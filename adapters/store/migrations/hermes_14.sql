CREATE INDEX messages_by_status ON messages (tenant, mode, status, created_at DESC, id DESC);
