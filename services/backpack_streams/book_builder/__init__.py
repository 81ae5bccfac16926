"""Keeps all order books from Kafka; writes checkpoints, tops of book and audit results."""
