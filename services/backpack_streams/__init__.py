"""Backpack Exchange's market and perpetual-futures data in Kafka, and order books rebuilt from Kafka alone."""

__version__ = "0.1.0"
