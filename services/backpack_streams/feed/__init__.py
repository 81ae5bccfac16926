"""What every producer service shares: frames of the exchange in, records for Kafka out, gaps found on the way."""
