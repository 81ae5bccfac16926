"""Audits on demand: compares books from Kafka with the exchange's books."""
