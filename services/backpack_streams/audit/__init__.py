"""Audits on demand: books from Kafka beside the books of the exchange."""
