"""The Kafka side: topics, schemas, codec, publisher, reader, admin and security. Does not depend on the exchange."""
