"""Backpack's side: stream names, wire messages, WebSocket session, REST client, limits. Independent of Kafka."""
