"""The command `tail`."""
