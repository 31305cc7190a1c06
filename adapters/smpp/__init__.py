"""SMPP 3.4: a strict codec, delivery receipts and the session both sides share."""
