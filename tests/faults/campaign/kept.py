"""The contents of Kafka: records of a campaign's topics, gaps on record and dead letters, read with plain aiokafka and fastavro."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient

from faults.campaign.truth import Identity, liquidation_identity
from reading import Read, read_topic

_REFILLED = "REFILLED"
Value = dict[str, Any]
_WATERMARKS = "ops.watermark"

Stream = tuple[str, str]
"""Stream spec and symbol."""


class GapRecord(NamedTuple):
    """One record of `ops.gap`; times in µs. The symbol is empty for a stream of all markets."""

    kind: str
    symbol: str
    reason: str
    last_id: int | None
    next_id: int | None
    last_us: int | None
    next_us: int | None
    detail: str


class Kept(NamedTuple):
    """Everything that the judge needs from Kafka. `undecodable` counts dead letters without a readable message."""

    records: Mapping[Stream, set[Identity]]
    received: Mapping[Stream, Mapping[int, set[Identity]]]
    """By stream, the messages by received time."""
    gaps: list[GapRecord]
    letters: Mapping[Stream, set[Identity]]
    undecodable: int
    book_tops: list[Value]
    checkpoints: list[Value]
    gap_reasons: Counter[str]
    covered_us: Mapping[str, int]
    """By stream, its first coverage according to the watermarks; empty without watermarks."""

    def first_covered_us(self, kind: str, symbol: str) -> int | None:
        """The first coverage of a market's stream, according to the plant; None if unknown."""
        told = [self.covered_us[each] for each in (f"{kind}.{symbol}", kind) if each in self.covered_us]
        return min(told, default=None)


_TOPICS: dict[str, tuple[str, str, Callable[[Value], Identity | None]]] = {
    "depth": ("market.depth", "DepthUpdate", lambda value: (value["first_update_id"], value["last_update_id"])),
    "bookTicker": ("market.book_ticker", "BookTicker", lambda value: (value["update_id"],)),
    "trade": ("market.trade", "Trade", lambda value: (value["trade_id"],)),
    "ticker": ("market.ticker", "Ticker", lambda value: (_us(value["event_time"]),)),
    "kline.1m": ("market.kline", "Kline", lambda value: _candle(value, "1m")),
    "markPrice": ("perp.mark_price", "MarkPrice", lambda value: (_us(value["event_time"]),)),
    "openInterest": ("perp.open_interest", "OpenInterest", lambda value: (_us(value["event_time"]),)),
    "liquidation": (
        "perp.liquidation",
        "Liquidation",
        lambda value: liquidation_identity(
            _us(value["event_time"]) or 0, value["side"], value["price"], value["quantity"]
        ),
    ),
}


def _us(value: Any) -> int | None:
    """Microseconds of a time as fastavro gives it."""
    if value is None or isinstance(value, int):
        return value
    whole = int(value.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + int(value.microsecond)


def _candle(value: Value, interval: str) -> Identity | None:
    if value["interval"] != interval or not value["is_closed"]:
        return None
    return ((_us(value["start_time"]) or 0) // 1_000_000,)


def _values(bootstrap_servers: str, topic: str, record: str) -> list[Value]:
    found: list[Read] = read_topic(bootstrap_servers, topic, record)
    return [each.value for each in found if each.value is not None]


def read_records(
    bootstrap_servers: str, prefix: str, kinds: tuple[str, ...]
) -> tuple[dict[Stream, set[Identity]], dict[Stream, dict[int, set[Identity]]]]:
    """The messages of these stream specs in Kafka, and the same by received time."""
    records: dict[Stream, set[Identity]] = {}
    received: dict[Stream, dict[int, set[Identity]]] = {}
    for kind in kinds:
        topic, record, identify = _TOPICS[kind]
        for value in _values(bootstrap_servers, prefix + topic, record):
            identity = identify(value)
            if identity is not None:
                stream = kind, value["symbol"]
                records.setdefault(stream, set()).add(identity)
                at_us = _us(value["received_time"]) or 0
                received.setdefault(stream, {}).setdefault(at_us, set()).add(identity)
    return records, received


def read_kept(bootstrap_servers: str, prefix: str, kinds: tuple[str, ...]) -> Kept:
    """Read everything."""

    def read(topic: str, record: str) -> list[Value]:
        return _values(bootstrap_servers, prefix + topic, record)

    # The services go on meanwhile: only what was said to be refilled before the records are read has to be among them.
    refilled = [gap for gap in map(_gap, read("ops.gap", "Gap")) if gap.reason == _REFILLED]
    records, received = read_records(bootstrap_servers, prefix, kinds)
    gaps = refilled + [gap for gap in map(_gap, read("ops.gap", "Gap")) if gap.reason != _REFILLED]
    letters: dict[Stream, set[Identity]] = {}
    undecodable = 0
    for letter in read("ops.dead_letter", "DeadLetter"):
        found = message_in(letter["payload"])
        if found is None:
            undecodable += 1
        else:
            letters.setdefault(found[0], set()).add(found[1])
    reasons = Counter(each.reason for each in gaps)
    covered = (
        _first_covered(read(_WATERMARKS, "Watermark")) if has_topic(bootstrap_servers, prefix + _WATERMARKS) else {}
    )
    tops, snapshots = read("market.book_top", "BookTop"), read("market.book_snapshot", "BookSnapshot")
    checkpoints = [each for each in snapshots if each["origin"] == "CHECKPOINT"]
    return Kept(records, received, gaps, letters, undecodable, tops, checkpoints, reasons, covered)


def _first_covered(watermarks: Iterable[Value]) -> dict[str, int]:
    first: dict[str, int] = {}
    for watermark in watermarks:
        for interval in watermark["coverage"] or ():
            since_us = _us(interval["since"])
            if since_us is not None:
                for stream in interval["streams"]:
                    first[stream] = min(since_us, first.get(stream, since_us))
    return first


def has_topic(bootstrap_servers: str, topic: str) -> bool:
    """Whether the cluster has a topic."""
    return topic in AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=30).topics


def _gap(value: Value) -> GapRecord:
    kind, symbol = split_stream(value["stream"])
    return GapRecord(
        kind,
        symbol,
        value["reason"],
        value["last_id"],
        value["next_id"],
        _us(value["last_time"]),
        _us(value["next_time"]),
        f"{value['detail']} ({value['service']})",
    )


def split_stream(stream: str) -> Stream:
    """Stream spec and symbol of a stream; symbols may contain dots."""
    kind, _, symbol = stream.partition(".")
    if kind == "kline":
        interval, _, symbol = symbol.partition(".")
        kind = f"kline.{interval}"
    return kind, symbol


def message_in(payload: bytes) -> tuple[Stream, Identity] | None:
    """The stream and identity of a frame's message; None if it is not a frame of a judged stream."""
    try:
        frame = json.loads(payload, parse_float=Decimal)
        data = frame["data"]
        kind, _ = split_stream(frame["stream"])
        stream = kind, data["s"]
        if kind == "depth":
            return stream, (data["U"], data["u"])
        if kind == "trade":
            return stream, (data["t"],)
        if kind == "bookTicker":
            return stream, (int(data["u"]),)
        if kind == "liquidation":
            return stream, liquidation_identity(data["E"], data["S"], Decimal(data["p"]), Decimal(data["q"]))
        return stream, (data["E"],)
    except (ValueError, KeyError, TypeError, ArithmeticError):
        return None
