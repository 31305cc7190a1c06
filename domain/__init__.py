"""The pure core: no I/O, no Restate, no clock, no randomness."""
