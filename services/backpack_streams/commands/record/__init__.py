"""The `record` command: writes what the exchange sends into a file."""
