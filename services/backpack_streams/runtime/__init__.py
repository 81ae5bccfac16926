"""What all services share: settings, logging, metrics, health, and the signals that end a process."""
