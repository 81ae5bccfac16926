"""Reads the books as of past moments, like `book --at`, and judges them by the exchange's ledger."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backpack_streams.books import BookStream, Status
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.watermark_intake import MAX_AGE_SECONDS
from backpack_streams.errors import BackpackStreamsError
from faults.campaign.judge import Books
from faults.campaign.truth import BookTimes

__all__ = ["PastFindings", "WrongThen", "judge_past_moments"]

_ENGINE_MICROS = 50_000
"""The engine time of an update, which moments refer to, is at most so much before the ledger's time."""
_WATERMARKS_MICROS = 1_000_000
"""The age of watermarks is not known more precisely than this."""
_READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WrongThen:
    """A wrong book that was LIVE as of a moment."""

    moment_us: int
    symbol: str
    last_update_id: int | None
    why: str


@dataclass(slots=True)
class PastFindings:
    """The findings for all moments. `statuses` counts books, `exact` the LIVE ones in exactly the ledger's state."""

    moments: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    wrongs: list[WrongThen] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Moments that could not be read, with reasons."""


def judge_past_moments(
    bootstrap_servers: str,
    prefix: str,
    moments_us: Iterable[int],
    times: Mapping[str, BookTimes],
    books: Books,
    *,
    symbols: Iterable[str] | None = None,
    max_age: float = MAX_AGE_SECONDS,
    parallel: int = 4,
) -> PastFindings:
    """Read the books as of each moment (µs, by the exchange's clock), in this process, and judge the LIVE ones.

    Args:
        bootstrap_servers: the plant's Kafka.
        prefix: of the plant's topics.
        moments_us: in any order; each at least three seconds ago, so that the markets may still move.
        times: by symbol, all states of the exchange's books.
        books: the exchange's book at an update id.
        symbols: the markets; None for all.
        max_age: maximum age of the newest watermark. A book is right if it is one of the exchange's states from so long before the
            moment up to the moment.
        parallel: number of moments read at the same time.
    """
    chosen = None if symbols is None else list(symbols)
    findings = PastFindings()

    async def look_at_all() -> None:
        turns = asyncio.Semaphore(parallel)

        async def look(moment_us: int) -> None:
            async with turns:
                try:
                    await asyncio.wait_for(_look(moment_us), 2 * _READ_SECONDS)
                except (BackpackStreamsError, TimeoutError) as error:
                    findings.unread.append(f"{moment_us}: {error!r}")

        async def _look(moment_us: int) -> None:
            stream = BookStream(
                *(bootstrap_servers, chosen), from_time=moment_us, until=moment_us, max_age=max_age, topic_prefix=prefix
            )
            async with stream:
                if not await stream.until_moment(_READ_SECONDS):
                    findings.unread.append(f"{moment_us}: not read within {_READ_SECONDS:g} s")
                    return
                findings.moments += 1
                for market in stream.books.values():
                    _judge(findings, market, moment_us, times.get(market.symbol), books, max_age)

        async with asyncio.TaskGroup() as tasks:
            for moment_us in moments_us:
                tasks.create_task(look(moment_us))

    asyncio.run(look_at_all())
    return findings


def _judge(
    findings: PastFindings, market: MarketBook, moment_us: int, times: BookTimes | None, books: Books, max_age: float
) -> None:
    findings.statuses[market.status.value] += 1
    if market.status is not Status.LIVE:
        findings.reasons[market.reason] += 1
        return
    if times is None:
        why: str | None = "the exchange has no such market"
    else:
        why = _why_wrong(market, moment_us, times, books, max_age)
        findings.exact += times.place(market.last_update_id or 0) == times.place_as_of(moment_us)
    if why is not None:
        findings.wrongs.append(WrongThen(moment_us, market.symbol, market.last_update_id, why))


def _why_wrong(market: MarketBook, moment_us: int, times: BookTimes, books: Books, max_age: float) -> str | None:
    place = times.place(market.last_update_id or 0)
    if place is None:
        return f"the exchange's book was never at update {market.last_update_id}"
    oldest = times.place_as_of(moment_us - int(max_age * 1_000_000) - _WATERMARKS_MICROS)
    newest = times.place_as_of(moment_us + _ENGINE_MICROS)
    if not oldest <= place <= newest:
        return f"state {place} of the exchange's, which was at {oldest} to {newest} around then"
    return _difference(market, books(market.symbol, market.last_update_id or 0))


def _difference(market: MarketBook, truth: Mapping[str, Any] | None) -> str | None:
    if truth is None:
        return "the exchange's book of that update is not known any more"
    for side, shown in zip(("bids", "asks"), market.book.to_lines(), strict=True):
        ours, theirs = [tuple(level) for level in shown], [tuple(level) for level in truth[side]]
        if ours != theirs:
            more, less = (
                [level for level in these if level not in those][:3]
                for these, those in ((ours, theirs), (theirs, ours))
            )
            return f"other {side}: shown only {more}, the exchange's only {less}"
    return None
