"""The command `book`."""
