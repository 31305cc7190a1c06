"""Load on a stack of its own, through the API to the receipt, and what it costs."""
