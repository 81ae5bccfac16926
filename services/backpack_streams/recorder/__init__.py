"""The `record` command: what the exchange's wire sends, into a file."""
