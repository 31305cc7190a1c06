"""Prices, accounts and the ledger in the database, and what each process may spend."""
