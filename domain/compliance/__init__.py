"""What law, regulators and carriers ask of a message: who it comes from, when it comes, what it
must say. Small tables and pure functions; `handlers/pipeline/compliance.py` applies them."""
