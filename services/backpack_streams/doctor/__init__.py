"""The command that looks, from where it runs, at what commonly fails, and says what to do about it."""
