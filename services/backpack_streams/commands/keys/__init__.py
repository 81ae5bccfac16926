"""The command `keys`."""
