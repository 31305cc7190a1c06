"""What is looked up and listed: tenants, API keys, the message log.

One set of SQL and migrations for SQLite and PostgreSQL; tenants and keys are on SQLite only.
"""
