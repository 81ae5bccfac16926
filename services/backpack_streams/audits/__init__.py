"""Audits: compares a book from Kafka with the exchange's snapshots, and chooses which book to audit next. Sans I/O."""
