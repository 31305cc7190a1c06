"""Adapters in the database and on disk: versions, those in use, configurations, values, health."""
