"""`backpack-streams audit SYMBOL…|all`: compares books from Kafka with the exchange's, once."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing

from backpack_streams.audits.auditing import AuditResult, ExchangeBook
from backpack_streams.books import BookStream, BookUpdate
from backpack_streams.bus.decimals import unscaled_from_text
from backpack_streams.commands.audit.on_demand import AuditsOnDemand
from backpack_streams.commands.audit.report import as_json, as_table, not_compared_as_json
from backpack_streams.commands.audit.settings import AuditSettings
from backpack_streams.errors import BackpackStreamsError, CodecError, UsageError
from backpack_streams.exchange.limits import LimitSettings, Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.exchange_clients.from_settings import rest_settings
from backpack_streams.markets.market_list import MarketList
from backpack_streams.markets.selection import Selection
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection

ALL = "all"
DEPTH_LIMIT = 1000
AT_A_TIME = 8
"""A small number, because books do not advance while their snapshots are requested."""
SNAPSHOT_SECONDS = 5.0
"""How long a book may take to reach its snapshot before a newer one is requested."""

Rounds = AsyncIterator[Iterator[BookUpdate]]


class BooksDifferError(BackpackStreamsError):
    """A book differs from the exchange's, or could not be compared in time."""


async def run(settings: AuditSettings, symbols: list[str]) -> int:
    """Compare, print the result, and return 0 if every book equals the exchange's.

    Args:
        settings: Kafka, the exchange, the time limit in seconds, and the output.
        symbols: the markets, or only `all` for every open market of which Kafka has a book.

    Raises:
        UsageError: there is no such market.
        BooksDifferError: a book differs from the exchange's, or could not be compared in time.
        BusError: Kafka cannot be reached.
        RestError: the exchange's list of markets could not be fetched.
    """
    if ALL in symbols and len(symbols) > 1:
        raise UsageError(f"{ALL!r} stands alone; give {ALL}, or symbols")
    deadline = time.monotonic() + settings.timeout
    limits = LimitSettings(share=settings.rate_limit_share)
    async with RestClient(rest_settings(settings, limits=limits)) as rest:
        listed = await MarketList(rest, settings.market_types).markets()
        selection = Selection(None if symbols == [ALL] else frozenset(symbols))
        selection.check(listed)
        audits = await _audit(settings, symbols, frozenset(selection.of(listed)), rest, deadline)
    _print(audits, settings)
    return _verdict(audits, settings.timeout)


async def _audit(
    settings: AuditSettings, symbols: Sequence[str], is_open: frozenset[str], rest: RestClient, deadline: float
) -> AuditsOnDemand:
    wanted = None if list(symbols) == [ALL] else list(dict.fromkeys(symbols))
    codec = kafka_codec(settings)
    async with BookStream(
        kafka_connection(settings), wanted, topic_prefix=settings.topic_prefix, codec=codec
    ) as stream:
        await stream.until_live(max(0.0, deadline - time.monotonic()))
        names = wanted or sorted(is_open & stream.books.keys())
        audits = AuditsOnDemand(stream.books, names)
        async with aclosing(stream.rounds()) as rounds:
            await _read(audits, rounds, deadline)  # from now on books advance only within a round
            while not audits.is_done and time.monotonic() < deadline:
                await _ask(audits, rest, audits.next(AT_A_TIME, time.monotonic()), deadline)
                await _read(audits, rounds, deadline)
    return audits


async def _ask(audits: AuditsOnDemand, rest: RestClient, symbols: Sequence[str], deadline: float) -> None:
    """Request snapshots. Nothing is read meanwhile, so no book advances past a snapshot that is under way."""

    async def ask(symbol: str) -> None:
        asked_at = time.monotonic()
        try:
            left = max(0.0, deadline - asked_at)
            answer = await asyncio.wait_for(rest.depth(symbol, DEPTH_LIMIT, priority=Priority.SNAPSHOT), left)
            audits.on_snapshot(symbol, exchange_book(answer.body, DEPTH_LIMIT), asked_at)
        except TimeoutError:
            audits.on_failure(symbol, "the exchange gave no book in time")
        except (RestError, CodecError) as error:
            audits.on_failure(symbol, f"the exchange gave no book: {error}")

    await asyncio.gather(*map(ask, symbols))


async def _read(audits: AuditsOnDemand, rounds: Rounds, deadline: float) -> None:
    """Read at least one round, and on until every snapshot has been compared or the time for it is over."""
    enough = min(deadline, time.monotonic() + SNAPSHOT_SECONDS)
    while True:
        for update in await anext(rounds):
            audits.on_book(update.symbol)
        audits.on_tick()
        if not audits.is_waiting:
            return
        if time.monotonic() >= enough:
            audits.forget_snapshots()
            return


def exchange_book(snapshot: DepthSnapshot, limit: int) -> ExchangeBook:
    """Return the book of an answer to `/api/v1/depth`. A side with `limit` levels may have been cut there.

    Args:
        snapshot: the answer, prices and quantities as decimal text.
        limit: the number of levels that were requested.

    Raises:
        CodecError: a number does not fit.
    """
    bids, asks = (
        [(unscaled_from_text(price), unscaled_from_text(quantity)) for price, quantity in side]
        for side in (snapshot.bids, snapshot.asks)
    )
    is_whole = len(bids) < limit, len(asks) < limit
    return ExchangeBook(snapshot.last_update_id, snapshot.timestamp_us, bids, asks, *is_whole)


def _print(audits: AuditsOnDemand, settings: AuditSettings) -> None:
    not_compared = audits.not_compared()
    if not settings.json_output:
        lines = [as_table(audits.audits, not_compared)]
    else:
        lines = [
            as_json(audits.audits[symbol])
            if symbol in audits.audits
            else not_compared_as_json(symbol, not_compared[symbol])
            for symbol in sorted({*audits.audits, *not_compared})
        ]
    print("\n".join(lines), flush=True)  # what the command says to its user


def _verdict(audits: AuditsOnDemand, timeout: float) -> int:
    wrong = [audit.symbol for audit in audits.audits.values() if audit.result is AuditResult.MISMATCH]
    unknown = list(audits.not_compared())
    if not audits.audits and not unknown:
        raise BooksDifferError("Kafka has no book to compare; check that market-producer and rest-poller run")
    if wrong:
        raise BooksDifferError(
            f"{_counted(wrong)} not what the exchange has: {_named(wrong)}; book-builder takes a wrong book out of LIVE and has it "
            "resynced when it audits it next"
        )
    if unknown:
        raise BooksDifferError(
            f"{_counted(unknown)} not compared within {timeout:g} s: {_named(unknown)}; the rows above say why, --timeout gives it longer"
        )
    return 0


def _counted(symbols: Sequence[str]) -> str:
    return f"{len(symbols)} {'book is' if len(symbols) == 1 else 'books are'}"


def _named(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - 5} more" if len(symbols) > 5 else ""
    return ", ".join(sorted(symbols)[:5]) + more
