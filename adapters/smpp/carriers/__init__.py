"""Accounts with carriers: their connections, supervised, and how each likes to be spoken to."""
