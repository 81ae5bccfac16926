"""`backpack-streams book`: order books rebuilt from Kafka alone, printed once or kept on the screen."""

import difflib
import json
import sys
import time
from collections.abc import Iterable
from contextlib import aclosing

from backpack_streams.books import BookStream, MarketBook
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.cli.settings import BookSettings
from backpack_streams.errors import BackpackStreamsError, CodecError, UsageError
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection

ALL = "all"
MARKET_TOPIC = "reference.market"
DEPTH_FOR_PEOPLE = 10
REDRAW_SECONDS = 1.0
_POLL_MILLIS = 300
_CLEAR_SCREEN = "\x1b[H\x1b[2J"


class NotLiveError(BackpackStreamsError):
    """Books were not `LIVE` in time."""


async def run(settings: BookSettings, symbols: list[str]) -> int:
    """Prints books once they are `LIVE` (`--once`), or again and again as they change.

    Raises:
        UsageError: no such market. NotLiveError: not `LIVE` in time. BusError: Kafka cannot be reached.
    """
    connection, codec = kafka_connection(settings), kafka_codec(settings)
    wanted = None if symbols == [ALL] else symbols
    if wanted is not None:
        await _check(wanted, connection, codec, settings.topic_prefix)
    async with BookStream(connection, wanted, topic_prefix=settings.topic_prefix, codec=codec) as books:
        if settings.once:
            return await _once(books, settings)
        await _keep_printing(books, settings)
    return 0


async def _once(books: BookStream, settings: BookSettings) -> int:
    is_live = await books.until_live(settings.timeout)
    _print(books.books.values(), settings)
    if is_live:
        return 0
    late = ", ".join(f"{market.symbol} {market.status.value} ({market.reason})" for market in books.not_live()[:5])
    more = len(books.not_live()) - 5
    what = late + (f" and {more} more" if more > 0 else "") or "Kafka has no book at all"
    raise NotLiveError(
        f"not LIVE within {settings.timeout:g} s: {what}; check that market-producer and rest-poller run, or wait longer with --timeout"
    )


async def _keep_printing(books: BookStream, settings: BookSettings) -> None:
    drawn = 0.0
    changed: dict[str, MarketBook] = {}
    async with aclosing(books.rounds()) as rounds:
        async for updates in rounds:
            changed.update((update.symbol, update.market) for update in updates)
            if changed and time.monotonic() - drawn > REDRAW_SECONDS:
                on_screen = sys.stdout.isatty() and not settings.json_output
                if on_screen:
                    print(_CLEAR_SCREEN, end="")
                _print(books.books.values() if on_screen else changed.values(), settings)
                changed = {}
                drawn = time.monotonic()


def _print(markets: Iterable[MarketBook], settings: BookSettings) -> None:
    show = _as_json if settings.json_output else _for_people
    for market in sorted(markets, key=lambda market: market.symbol):
        print(show(market, settings.depth))
    sys.stdout.flush()


def _as_json(market: MarketBook, depth: int | None) -> str:
    bids, asks = market.book.to_lines(depth)
    return json.dumps(
        {
            "symbol": market.symbol,
            "status": market.status.value,
            "last_update_id": market.last_update_id,
            "engine_time": market.engine_time,
            "bids": bids,
            "asks": asks,
        }
    )


def _for_people(market: MarketBook, depth: int | None) -> str:
    bids, asks = market.book.to_lines(depth or DEPTH_FOR_PEOPLE)
    why = f" ({market.reason})" if market.reason else ""
    lines = [f"{market.symbol}  {market.status.value}{why}  update {market.last_update_id}"]
    rows = max(len(bids), len(asks))
    blank = ("", "")
    for row in range(rows):
        bid, ask = (bids[row] if row < len(bids) else blank), (asks[row] if row < len(asks) else blank)
        lines.append(f"{bid[1]:>18} {bid[0]:>16} | {ask[0]:<16} {ask[1]:<18}".rstrip())
    return "\n".join(lines) + "\n"


async def _check(wanted: list[str], connection: KafkaConnection, codec: Codec, prefix: str) -> None:
    """Refuses symbols that the exchange does not list, where the reference topic tells."""
    if ALL in wanted:
        raise UsageError(f"{ALL!r} stands alone; give {ALL}, or symbols")
    listed: set[str] = set()
    async with Reader(connection, codec) as reader:
        places = await reader.places(prefix + MARKET_TOPIC)
        ends, beginnings = await reader.ends(places), await reader.beginnings(places)
        waiting = {place for place in places if beginnings[place] < ends[place]}
        if waiting:
            reader.assign({place: beginnings[place] for place in waiting})
        while waiting:
            for batch in (await reader.poll(_POLL_MILLIS)).values():
                listed.update(_listed(codec, record.value) for record in batch if record.value is not None)
            for place in list(waiting):
                if await reader.position(place) >= ends[place]:
                    waiting.discard(place)
    listed.discard("")
    for symbol in wanted:
        if listed and symbol not in listed:
            near = difflib.get_close_matches(symbol, listed, 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise UsageError(f"unknown symbol {symbol!r}: the exchange lists no such market{hint}")


def _listed(codec: Codec, value: bytes) -> str:
    try:
        return str(codec.decode(value)[1]["symbol"])
    except (CodecError, KeyError):
        return ""
