"""The list of markets that services follow, which of them a service takes, and the streams that each has."""
