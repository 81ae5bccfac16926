"""A stand-in for Backpack Exchange: the same wire format on WebSocket and REST, faults on demand, recordings played back.

It shares no code with the clients that it tests, so that a mistake in one cannot hide in the other.
"""
