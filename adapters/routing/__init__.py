"""The router among stores, carriers and adapters."""
