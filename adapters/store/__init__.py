"""What is looked up and listed: tenants, API keys, the message log (SQLite)."""
