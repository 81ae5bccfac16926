"""Kafka's side: topics, schemas, codec, publisher, reader, admin and security. Knows no exchange."""
