"""Which network serves a number now: asked of a provider, kept in the database, read from memory.

An HLR (home location register) is a network's list of its subscribers; providers of look-ups ask
it, or a country's register of ported numbers.
"""
