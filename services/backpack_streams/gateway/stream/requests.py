"""The requests of a client of the stream: one JSON message, or the parameters of a URL. Sans I/O."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, cast

import msgspec

from backpack_streams.gateway.candles import INTERVAL_MICROS
from backpack_streams.gateway.changes import CANDLES, CHANNELS
from backpack_streams.gateway.errors import BadRequestError
from backpack_streams.gateway.json_text import Decimals
from backpack_streams.gateway.parameters import DECIMALS, MAX_WORDS, Parameter, choice, words
from backpack_streams.runtime.nearest import nearest

__all__ = [
    "ALL",
    "EVENT_PARAMETERS",
    "Key",
    "StreamRequest",
    "parse_resume",
    "read_request",
    "request_of_url",
    "resume_text",
]

ALL: Final = "all"
DEFAULT_DEPTH: Final[Literal[20]] = 20
DEPTHS: Final = (1, 5, 10, 20, 50, 100)
"""The possible depths. They are few, so that many clients share each encoded update."""
MAX_POSITIONS_IN_ID: Final = 200
"""An event id holds the position of each subscription, up to this many. With more there is no id, and a reconnect begins with snapshots."""

Key = tuple[str, str]
"""A channel and a symbol."""
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Id = Annotated[str, msgspec.Meta(max_length=64)] | int | None


class StreamRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A request of a client (docs/guides/read-api-stream.md).

    Attributes:
        op: `subscribe` or `unsubscribe`.
        channels: such as `book` or `klines.1m`.
        symbols: markets, or `all`.
        id: repeated in the answer.
        depth: levels per side of a book.
        decimals: how prices and quantities are written.
        resume: by `channel.symbol`, the last sequence that the client has.
        key: the API key, for clients that cannot set headers.
    """

    op: Literal["subscribe", "unsubscribe"]
    channels: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=64)]
    symbols: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=MAX_WORDS)] | Literal["all"]
    id: _Id = None
    depth: Literal[1, 5, 10, 20, 50, 100] = DEFAULT_DEPTH
    decimals: Decimals = "number"
    resume: dict[str, int] = {}
    key: Annotated[str, msgspec.Meta(max_length=200)] | None = None


_decoder: Final = msgspec.json.Decoder(StreamRequest)

EVENT_PARAMETERS: Final[Mapping[str, Parameter]] = {
    each.name: each
    for each in (
        words("channels", "what to follow", "book,trades", known=(*CHANNELS, *map(CANDLES.__add__, INTERVAL_MICROS))),
        words("symbols", "markets with commas between them, or all", "SOL_USDC"),
        choice("depth", map(str, DEPTHS), default=str(DEFAULT_DEPTH), description="levels a side of each book"),
        DECIMALS,
    )
}


def read_request(text: str | bytes, intervals: Iterable[str]) -> StreamRequest:
    """Parse a message of a client.

    Args:
        text: the JSON text.
        intervals: the known intervals of candles, such as `1m`.

    Raises:
        BadRequestError: it is not a request, a channel is unknown, or `resume` names something else than the request.
    """
    try:
        request = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequestError(f"this is no request: {error}; send such as {EXAMPLE}") from None
    _check_channels(request.channels, intervals)
    stray = [name for name in request.resume if not _is_asked(name, request)]
    if stray:
        raise BadRequestError(f"resume names {stray[0][:80]!r}, which channels and symbols do not")
    return request


EXAMPLE: Final = '{"op":"subscribe","id":1,"channels":["book"],"symbols":["SOL_USDC"]}'


def request_of_url(parameters: Mapping[str, Any], last_event_id: str, intervals: Iterable[str]) -> StreamRequest:
    """Return the request that a URL and a `Last-Event-ID` header make.

    Positions in the header that do not belong to the request are ignored.

    Args:
        parameters: the values of `EVENT_PARAMETERS`, by name.
        last_event_id: the header's value; empty if there is none.
        intervals: the known intervals of candles, such as `1m`.

    Raises:
        BadRequestError: a channel is unknown.
    """
    channels, symbols = list(parameters["channels"]), parameters["symbols"]
    _check_channels(channels, intervals)
    asked: list[str] | Literal["all"] = ALL if symbols == (ALL,) else list(symbols)
    depth, decimals = int(parameters["depth"]), parameters["decimals"]
    request = StreamRequest("subscribe", channels, asked, depth=cast(Any, depth), decimals=decimals)
    resume = {name: sequence for name, sequence in parse_resume(last_event_id).items() if _is_asked(name, request)}
    return msgspec.structs.replace(request, resume=resume)


def resume_text(positions: Mapping[Key, int]) -> str | None:
    """Return an event id that holds the positions of a client; None with more than `MAX_POSITIONS_IN_ID` of them.

    Args:
        positions: the last sequence by channel and symbol.
    """
    if len(positions) > MAX_POSITIONS_IN_ID:
        return None
    return ",".join(f"{channel}.{symbol}={sequence}" for (channel, symbol), sequence in positions.items())


def parse_resume(text: str) -> dict[str, int]:
    """Return the sequences in an event id, by `channel.symbol`. Unreadable parts are ignored."""
    found = {}
    for part in text.split(",")[:MAX_POSITIONS_IN_ID]:
        name, _, sequence = part.partition("=")
        if sequence.isascii() and sequence.isdecimal() and len(sequence) < 19:
            found[name] = int(sequence)
    return found


def _check_channels(channels: Iterable[str], intervals: Iterable[str]) -> None:
    known = [*CHANNELS, *(CANDLES + interval for interval in intervals)]
    for channel in channels:
        if channel not in known:
            hint = nearest(channel, known) or f"; there are {', '.join(CHANNELS)} and klines.<interval>"
            raise BadRequestError(f"there is no channel {channel[:40]!r}{hint}")


def _is_asked(name: str, request: StreamRequest) -> bool:
    """Return whether the request covers `channel.symbol`; both parts may contain dots."""
    for channel in request.channels:
        if name.startswith(f"{channel}."):
            return request.symbols == ALL or name.removeprefix(f"{channel}.") in request.symbols
    return False
