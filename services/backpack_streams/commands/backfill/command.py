"""`backpack-streams backfill STREAM SYMBOL --from TIME`: the history of a market, into the topic of its stream."""

from backpack_streams.commands.backfill.backfilling import BackfillIncompleteError, Backfilling, shown_missing
from backpack_streams.commands.backfill.progress import Bookmark, shown_progress, shown_time
from backpack_streams.commands.backfill.settings import BackfillSettings
from backpack_streams.errors import UsageError
from backpack_streams.exchange.limits import LimitSettings, Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.streams import StreamKind, parse_kind
from backpack_streams.exchange_clients.from_settings import rest_settings
from backpack_streams.markets.market_list import MarketList
from backpack_streams.markets.selection import Selection
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.rest_poller.history import FUNDING_RATE_TOPIC, KLINE_TOPIC, TRADE_TOPIC, History

NAME = "backfill"
FUNDING_RATE = "fundingRate"
TOPICS = {"trade": TRADE_TOPIC, "kline": KLINE_TOPIC, FUNDING_RATE: FUNDING_RATE_TOPIC}


async def run(settings: BackfillSettings, stream: str, symbol: str) -> int:
    """Publish the history and print what was published.

    An earlier run of the same stream, market and start is continued, unless `again` is set.

    Args:
        settings: Kafka, the exchange, and the time range.
        stream: `trade`, `kline.<interval>` or `fundingRate`.
        symbol: the market.

    Raises:
        UsageError: there is no such stream or market, or the stream has no history.
        BackfillIncompleteError: the exchange did not give all of it; the rest is published.
        BackfillInterruptedError: the exchange stopped answering, or Kafka took no more.
        BusError: Kafka cannot be reached.
        RestError: the exchange refuses.
    """
    kind = _kind(stream)
    topic = TOPICS[kind.channel]
    rest = RestClient(rest_settings(settings, limits=LimitSettings(share=settings.rate_limit_share)))
    try:
        Selection(frozenset({symbol})).check(await MarketList(rest, settings.market_types).markets())
        publishing = Publishing(NAME, settings, lambda _, symbol, __: kind.stream(symbol))
        try:
            await publishing.open({topic})
            return await _fill(settings, kind, symbol, rest, publishing)
        finally:
            await publishing.close()
    finally:
        await rest.close()


async def _fill(
    settings: BackfillSettings, kind: StreamKind, symbol: str, rest: RestClient, publishing: Publishing
) -> int:
    stream = kind.stream(symbol)
    bookmark = Bookmark(publishing, stream, symbol, settings.from_time)
    reached = None if settings.again else await bookmark.read()
    from_us, to_us = settings.from_us, settings.to_us(now_us())
    history = History(publishing, rest, Priority.HISTORY)
    with shown_progress(stream) as show:
        work = Backfilling(kind, symbol, from_us, to_us, history, bookmark, show, reached)
        await work.run()
    resumed = "" if reached is None else f", after an earlier run that came to {shown_time(reached.until_us)}"
    topic = publishing.prefix + TOPICS[kind.channel]
    print(  # what the command says to its user
        f"{history.published} records of {stream} from {shown_time(from_us)} to {shown_time(to_us)} into {topic}{resumed}"
    )
    if work.missing:
        raise BackfillIncompleteError(f"unavailable for {stream}: {shown_missing(work.missing)}")
    return 0


def _kind(stream: str) -> StreamKind:
    """Return the kind of stream that the user named.

    Raises:
        UsageError: there is no such stream, or the exchange keeps no history of it.
    """
    if stream == FUNDING_RATE:
        return StreamKind(FUNDING_RATE)
    kind = parse_kind(stream)
    if kind.channel not in TOPICS:
        raise UsageError(
            f"the exchange keeps no history of {stream}; it does of trade, kline.<interval> and {FUNDING_RATE}"
        )
    return kind
