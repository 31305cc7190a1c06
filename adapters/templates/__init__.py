"""Tenants' templates in the database and in memory."""
