"""The providers' door: delivery reports and messages from people, by webhook."""
