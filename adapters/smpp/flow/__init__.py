"""How fast work comes and goes: rates, turns, what waits, and what the doors make of it."""
