"""The common part of the producer services: the exchange's frames in, records for Kafka out, gaps detected in between."""
