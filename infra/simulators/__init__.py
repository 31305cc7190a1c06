"""The other side, for development and tests: an SMSC and a mailbox."""
