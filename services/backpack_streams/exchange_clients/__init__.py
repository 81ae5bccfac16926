"""The clients of the exchange as services use them: built from settings, with metrics."""
