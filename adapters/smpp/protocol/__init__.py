"""SMPP 3.4 on the wire: PDUs, one session, receipts. Knows nothing of messages."""
