"""The `hermes` command. One group of commands a file; `main` knows them all."""
