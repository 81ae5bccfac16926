"""What `_quick_depth.c` makes, where a C compiler was at hand; None is given for what is not as always, which Python then does."""

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
