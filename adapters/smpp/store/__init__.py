"""What the bind pool must not forget."""
