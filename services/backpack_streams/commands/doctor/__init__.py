"""The command that checks, from where it runs, what commonly fails, and says what to do about it."""
