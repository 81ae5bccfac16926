"""Keeps all order books from Kafka, and writes checkpoints, tops and what audits find."""
