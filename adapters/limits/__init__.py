"""What counts messages: buckets in memory, and daily quotas leased from the database."""
