"""The exchange's messages from its ledger: every message of every stream, in order."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

Identity = tuple[Any, ...]
"""The identity of a message within its stream, everywhere."""


class Message(NamedTuple):
    """One message of the exchange. Ids are None if the stream has none; for a candle they are its start in seconds."""

    kind: str
    symbol: str
    wall_us: int
    event_us: int
    first_id: int | None
    last_id: int | None
    identity: Identity

    @property
    def stream(self) -> str:
        """The name of the stream, as for streams of one market."""
        return f"{self.kind}.{self.symbol}"


class Listed(NamedTuple):
    """One listing of a market: the time it was open, and its depth stream in that time."""

    begun_us: int
    ended_us: int | None
    first_update_id: int
    """The first update id of its book."""


class Truth(NamedTuple):
    """All messages by stream spec and symbol, all listings by symbol, and the first subscription to each stream."""

    messages: Mapping[tuple[str, str], Sequence[Message]]
    listings: Mapping[str, Sequence[Listed]]
    subscribed_us: Mapping[str, int]

    def total(self) -> int:
        """Number of messages."""
        return sum(map(len, self.messages.values()))


def liquidation_identity(event_us: int, side: str, price: Decimal, quantity: Decimal) -> Identity:
    """Liquidations have no ids: only their content and time distinguish them."""
    return event_us, side, price, quantity


def read_ledger(ledger: Mapping[str, Any]) -> Truth:
    """Convert the answer to `GET /ledger`."""
    messages: dict[tuple[str, str], list[Message]] = {}
    listings: dict[str, list[Listed]] = {}
    for symbol, listed in ledger["markets"].items():
        for each in listed:
            assert not each["forgotten"]["depth"], "the ledger was too small: it has forgotten messages"
            listings.setdefault(symbol, []).append(Listed(each["begun"], each["ended"], each["first_update_id"]))
            for kind, said in each["streams"].items():
                made = messages.setdefault((kind, symbol), [])
                made += [_message(kind, symbol, *row) for row in said]
    return Truth(messages, listings, ledger["subscribed"])


def _message(
    kind: str,
    symbol: str,
    wall_us: int,
    event_us: int,
    first_id: int | None,
    last_id: int | None,
    detail: str | None,
) -> Message:
    identity = _identity(kind, event_us, first_id, last_id, detail)
    return Message(kind, symbol, wall_us, event_us, first_id, last_id, identity)


def _identity(kind: str, event_us: int, first_id: int | None, last_id: int | None, detail: str | None) -> Identity:
    if kind == "depth":
        return first_id, last_id
    if kind in ("trade", "bookTicker") or kind.startswith("kline."):
        return (last_id,)
    if detail is not None:
        side, price, quantity = detail.split(" ")
        return liquidation_identity(event_us, side, Decimal(price), Decimal(quantity))
    return (event_us,)


class BookTimes:
    """The states of one market's book: their update ids in order, and the time of each."""

    def __init__(self, listings: Sequence[Listed], depth: Sequence[Message]) -> None:
        states: list[tuple[int, int]] = [(each.begun_us, each.first_update_id) for each in listings]
        states += [(each.wall_us, each.last_id or 0) for each in depth]
        states.sort(key=lambda state: state[0])
        self._walls = [wall_us for wall_us, _ in states]
        self._ids = [update_id for _, update_id in states]
        self._places = {update_id: place for place, update_id in enumerate(self._ids)}
        self._listings = listings

    def place(self, update_id: int) -> int | None:
        """The index of an update id among all states; None if the book never had it."""
        return self._places.get(update_id)

    def place_as_of(self, wall_us: int) -> int:
        """The newest state as of a moment; -1 before the first one."""
        return bisect_right(self._walls, wall_us) - 1

    def superseded_us(self, place: int) -> int | None:
        """The time of the state after this one; None if it is the last one."""
        return self._walls[place + 1] if place + 1 < len(self._walls) else None

    def is_open(self, wall_us: int) -> bool:
        """Whether the market was open at a moment."""
        return any(
            each.begun_us <= wall_us and (each.ended_us is None or wall_us < each.ended_us) for each in self._listings
        )
