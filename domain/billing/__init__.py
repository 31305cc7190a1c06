"""What a message costs: prices, the cost of an attempt, and how it is settled."""
