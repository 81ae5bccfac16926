"""What a person runs: one folder per command. A command imports no other command, and no service imports a command."""
