"""Status callbacks to tenants: signed, and never to where a tenant must not reach."""
