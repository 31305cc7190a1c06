"""One Restate service a channel: `deliver` hands one attempt to a provider, once."""
