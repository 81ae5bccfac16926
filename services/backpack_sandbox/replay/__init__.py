"""The `replay` command: plays a recording in the exchange's place. It shares its servers with the sandbox."""
