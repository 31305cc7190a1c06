"""One scenario a file, each named after what is done to Hermes."""
