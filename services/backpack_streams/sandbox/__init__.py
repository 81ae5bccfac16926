"""A stand-in for Backpack Exchange: the same wire on WebSocket and REST, faults on demand, recordings played back.

It shares no code with the clients it is there to test, so that a mistake in one cannot hide in the other.
"""
