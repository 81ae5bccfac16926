"""The values of the field `source` in every record: how the data came from the exchange."""

WEBSOCKET = "WEBSOCKET"
REST = "REST"
