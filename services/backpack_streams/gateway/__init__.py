"""gateway: the read API over HTTP and WebSocket, served from Kafka."""
