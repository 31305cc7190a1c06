"""The tenants' door: the REST API."""
