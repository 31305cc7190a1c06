"""Messages from people, put together from their parts."""
