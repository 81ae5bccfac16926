"""`backpack-streams book`: prints order books rebuilt from Kafka alone, once or continuously."""

import json
import sys
import time
from collections.abc import Iterable
from contextlib import aclosing
from datetime import datetime

from backpack_streams.books import BookStream, MarketView, Status
from backpack_streams.commands.book.settings import BookSettings
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection

DEPTH_FOR_PEOPLE = 10
REDRAW_SECONDS = 1.0
_CLEAR_SCREEN = "\x1b[H\x1b[2J"


class NotLiveError(BackpackStreamsError):
    """Books were not `LIVE` in time."""


async def run(settings: BookSettings, symbols: list[str]) -> int:
    """Print the books once they are `LIVE` (`--once`), as of a past time (`--at`), or repeatedly as they change.

    Args:
        settings: Kafka, and what to print. `at` is the exchange's engine time, `timeout` and `max_age` are seconds.
        symbols: markets, patterns such as `*_PERP` or `kind:SPOT`, or `all`.

    Raises:
        UsageError: there is no such market.
        NotLiveError: a book was not `LIVE` in time, or Kafka was not read up to the past moment in time.
        BusError: Kafka cannot be reached.
    """
    books = BookStream(
        kafka_connection(settings),
        symbols,
        from_time=settings.at,
        until=settings.at,
        max_age=settings.max_age,
        topic_prefix=settings.topic_prefix,
        codec=kafka_codec(settings),
    )
    async with books:
        if settings.at is not None:
            return await _as_of(settings.at, books, settings)
        if settings.once:
            return await _once(books, settings)
        await _keep_printing(books, settings)
    return 0


async def _as_of(moment: datetime, books: BookStream, settings: BookSettings) -> int:
    when = f"as of {moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"
    if not await books.until_moment(settings.timeout):
        raise NotLiveError(f"{when}: not read so far within {settings.timeout:g} s; give more time with --timeout")
    _print(books.books.values(), settings)
    if books.all_live():
        return 0
    what = _not_live(books) or "Kafka has no book at all"
    raise NotLiveError(f"{when}: {what}; give a moment of which Kafka still holds a snapshot and the updates after it")


async def _once(books: BookStream, settings: BookSettings) -> int:
    is_live = await books.until_live(settings.timeout)
    _print(books.books.values(), settings)
    if is_live:
        return 0
    what = _not_live(books) or "Kafka has no book at all"
    if all(market.status is Status.CLOSED for market in books.not_live()) and books.books:
        raise NotLiveError(f"not LIVE: {what}")
    raise NotLiveError(f"not LIVE within {settings.timeout:g} s: {what}; {_what_to_do(books)}")


def _what_to_do(books: BookStream) -> str:
    """Return advice. Records that cannot be read explain best why a book is not live, so they come first."""
    if books.undecodable_records:
        return f"{books.undecodable_records} records could not be read, the last since {books.last_problem}"
    if all(market.is_whole for market in books.not_live()) and books.books:
        return "check that market-producer runs and covers these markets, or wait longer with --timeout"
    return "check that market-producer and rest-poller run, or wait longer with --timeout"


def _not_live(books: BookStream) -> str:
    late = ", ".join(f"{market.symbol} {market.status.value} ({market.reason})" for market in books.not_live()[:5])
    more = len(books.not_live()) - 5
    return late + (f" and {more} more" if more > 0 else "")


async def _keep_printing(books: BookStream, settings: BookSettings) -> None:
    drawn = 0.0
    changed: dict[str, MarketView] = {}
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


def _print(markets: Iterable[MarketView], settings: BookSettings) -> None:
    show = _as_json if settings.json_output else _for_people
    for market in sorted(markets, key=lambda market: market.symbol):
        print(show(market, settings.depth))
    sys.stdout.flush()


def _as_json(market: MarketView, depth: int | None) -> str:
    bids, asks = market.book.to_lines(depth)
    return json.dumps(
        {
            "symbol": market.symbol,
            "status": market.status.value,
            "last_update_id": market.last_update_id,
            "engine_time": market.engine_time,
            "as_of": market.as_of,
            "bids": bids,
            "asks": asks,
        }
    )


def _for_people(market: MarketView, depth: int | None) -> str:
    bids, asks = market.book.to_lines(depth or DEPTH_FOR_PEOPLE)
    why = f" ({market.reason})" if market.reason else ""
    lines = [f"{market.symbol}  {market.status.value}{why}  update {market.last_update_id}"]
    rows = max(len(bids), len(asks))
    blank = ("", "")
    for row in range(rows):
        bid, ask = (bids[row] if row < len(bids) else blank), (asks[row] if row < len(asks) else blank)
        lines.append(f"{bid[1]:>18} {bid[0]:>16} | {ask[0]:<16} {ask[1]:<18}".rstrip())
    return "\n".join(lines) + "\n"
