"""The `replay` command: a recording as the exchange again. It shares its servers with the sandbox."""
