"""Tenants' own templates: typed variables, several languages, rendered without surprises."""
