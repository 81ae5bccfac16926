"""The command `schemas`."""
