"""The module compiled from `_quick_depth.c`. Functions return None for unusual input, which the Python code handles."""

def encode(
    head: bytes,
    event_time: int,
    engine_time: int | None,
    received_time: int,
    first_id: int,
    last_id: int,
    bids: list[tuple[str, str]] | None,
    asks: list[tuple[str, str]] | None,
    /,
) -> bytes | None: ...
def decode(
    value: bytes, start: int, /
) -> tuple[int, int, int | None, list[tuple[int, int]], list[tuple[int, int]]] | None: ...
