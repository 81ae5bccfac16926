"""What every service shares: settings, logging, metrics, health and the signals that end a process."""
