"""Adapters on SQLite and on disk: versions, what is in use, configurations, values, health."""
