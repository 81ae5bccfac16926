"""`/v1/stream`: books and records as they change, over WebSocket and server-sent events."""
