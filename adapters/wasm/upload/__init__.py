"""What an uploaded adapter goes through before it may run, and the life that it has then."""
