"""A backfill skips what it cannot read, continues at a failed page, and knows in its next run what this one missed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backpack_streams.bus.partition_queue import Handover
from backpack_streams.commands.backfill import backfilling
from backpack_streams.commands.backfill.backfilling import Backfilling
from backpack_streams.commands.backfill.progress import Bookmark, Reached
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient, Rows
from backpack_streams.exchange.rest_decoding import decode_rows, kline_reader, read_funding_rate, trade_reader
from backpack_streams.exchange.rest_errors import RestRequest, error_from_answer
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import FundingRate, Kline, Trade
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.rest_poller.history import History

HOUR, MINUTE = 3_600_000_000, 60_000_000
NOW_US = 1_790_002_800_000_000 // HOUR * HOUR
RATES, CANDLES, TRADES = StreamKind("fundingRate"), StreamKind("kline", "1m"), StreamKind("trade")


def iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Exchange:
    """REST: hourly funding rates, newest first, one-minute candles, and trades with ids from 1. Rows at the times in `unreadable` have no
    number.
    """

    def __init__(self, hours: int = 0) -> None:
        self.hours = hours
        self.trade_times: list[int] = []
        self.unreadable: set[int] = set()
        self.asked = 0
        self.fails_at: set[int] = set()

    def _asks(self) -> None:
        self.asked += 1
        if self.asked in self.fails_at:
            raise error_from_answer(RestRequest("GET", "/"), 503, b"")

    async def funding_rates(
        self, symbol: str, limit: int, offset: int, *, priority: Priority
    ) -> Answer[Rows[FundingRate]]:
        self._asks()
        times = [NOW_US - each * HOUR for each in range(self.hours)][offset : offset + limit]
        rows = [
            {"symbol": symbol, "fundingRate": None if at in self.unreadable else "0.1", "intervalEndTimestamp": iso(at)}
            for at in times
        ]
        return Answer(decode_rows(json.dumps(rows).encode(), read_funding_rate), None, NOW_US + 10_000_000, 200)

    async def trades(self, symbol: str, limit: int, *, priority: Priority) -> Answer[Rows[Trade]]:
        return await self.trades_history(symbol, limit, 0, priority=priority)

    async def trades_history(self, symbol: str, limit: int, offset: int, *, priority: Priority) -> Answer[Rows[Trade]]:
        self._asks()
        newest_first = [(trade_id, at) for trade_id, at in enumerate(self.trade_times, 1)][::-1]
        rows = [
            {
                "id": trade_id,
                "price": "1",
                "quantity": "1",
                "quoteQuantity": "1",
                "timestamp": at // 1000,
                "isBuyerMaker": True,
            }
            for trade_id, at in newest_first[offset : offset + limit]
        ]
        return Answer(decode_rows(json.dumps(rows).encode(), trade_reader(symbol)), None, NOW_US + 10_000_000, 200)

    async def klines(
        self, symbol: str, interval: str, start_s: int, end_s: int, *, priority: Priority
    ) -> Answer[Rows[Kline]]:
        self._asks()
        numbers = dict.fromkeys(("open", "high", "low", "close", "volume", "quoteVolume"), "1")
        rows = [
            {"start": iso(at), "end": iso(at + MINUTE), "trades": 1}
            | (numbers if at not in self.unreadable else {"volume": None})
            for at in range(start_s * 1_000_000, end_s * 1_000_000, MINUTE)
        ]
        body = decode_rows(json.dumps(rows).encode(), kline_reader(symbol, interval))
        return Answer(body, None, NOW_US + 10_000_000, 200)


class Kafka:
    """Accepts everything; keeps the dead letters, and the bookmark as Kafka would."""

    def __init__(self) -> None:
        self.records = 0
        self.letters: list[bytes] = []
        self.mark: Reached | None = None
        self.is_done = False
        self._handovers: set[Handover] = set()
        reporter = SimpleNamespace(dead_letter=lambda *, payload, **_: self.letters.append(payload))
        self.publishing: Any = SimpleNamespace(
            reporter=reporter, encoder=lambda _: lambda _: b"", partition_queue=lambda *_: self
        )

    @property
    def handed_over(self) -> int:
        return self.records

    def append(self, *_: object) -> bool:
        self.records += 1
        return True

    async def settled(self) -> int:
        return 0

    async def write(self, reached: Reached, *, is_done: bool = False) -> None:
        self.mark, self.is_done = reached, is_done

    def work(self, exchange: Exchange, kind: StreamKind, from_us: int, to_us: int) -> Backfilling:
        history = History(cast(Publishing, self.publishing), cast(RestClient, exchange), Priority.HISTORY)
        show: Callable[[float, str], None] = lambda *_: None  # noqa: E731  # it shows nothing
        return Backfilling(kind, "X", from_us, to_us, history, cast(Bookmark, self), show, self.mark)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfilling, "FIRST_RETRY_SECONDS", 1e-9)
    monkeypatch.setattr(backfilling, "LONGEST_RETRY_SECONDS", 1e-9)
    monkeypatch.setattr(backfilling, "FUNDING_RATES_A_PAGE", 1_000)


async def test_an_unreadable_rate_is_a_dead_letter_and_ends_nothing() -> None:
    exchange, kafka = Exchange(5_000), Kafka()
    exchange.unreadable = {NOW_US - 7 * HOUR}
    work = kafka.work(exchange, RATES, NOW_US - 6_000 * HOUR, NOW_US + HOUR)
    await work.run()
    assert kafka.records == 5_000 - 2, "but for that one and the one in progress"
    assert len(kafka.letters) == 1
    assert (work.missing, kafka.is_done) == (["1 that cannot be read, now among the dead letters"], True)


async def test_an_unreadable_rate_outside_the_range_is_not_missed() -> None:
    exchange, kafka = Exchange(5_000), Kafka()
    exchange.unreadable = {NOW_US - 700 * HOUR}
    work = kafka.work(exchange, RATES, NOW_US - 500 * HOUR, NOW_US + HOUR)
    await work.run()
    assert (work.missing, kafka.records) == ([], 500)


async def test_a_failed_page_of_rates_is_requested_again_alone() -> None:
    exchange, kafka = Exchange(5_000), Kafka()
    exchange.fails_at = {3, 4}
    await kafka.work(exchange, RATES, NOW_US - 6_000 * HOUR, NOW_US + HOUR).run()
    assert (kafka.records, exchange.asked) == (4_999, 6 + 2)


async def test_a_failed_page_of_candles_is_not_skipped() -> None:
    exchange, kafka = Exchange(), Kafka()
    exchange.fails_at = {2, 4}
    work = kafka.work(exchange, CANDLES, NOW_US - 3_000 * MINUTE, NOW_US)
    await work.run()
    assert (kafka.records, exchange.asked, work.missing) == (3_000, 3 + 2, [])


async def test_the_next_run_knows_what_this_one_missed() -> None:
    exchange, kafka = Exchange(), Kafka()
    exchange.unreadable = {NOW_US - 2_500 * MINUTE}
    exchange.fails_at = set(range(2, 100))
    first = kafka.work(exchange, CANDLES, NOW_US - 3_000 * MINUTE, NOW_US)
    with pytest.raises(backfilling.BackfillInterruptedError):
        await first.run()
    assert (kafka.records, len(kafka.letters)) == (999, 1)
    exchange.fails_at = set()
    for _ in range(2):  # the second finds it done
        again = kafka.work(exchange, CANDLES, NOW_US - 3_000 * MINUTE, NOW_US)
        await again.run()
        [missed] = again.missing
        assert "which cannot be read" in missed
    assert (kafka.records, kafka.is_done) == (2_999, True)


async def test_the_list_of_missed_rows_is_bounded() -> None:
    exchange, kafka = Exchange(), Kafka()
    exchange.unreadable = {NOW_US - each * MINUTE for each in range(2, 900, 2)}
    work = kafka.work(exchange, CANDLES, NOW_US - 900 * MINUTE, NOW_US)
    await work.run()
    assert len(work.missing) == backfilling.MOST_MISSING + 1
    assert work.missing[-1] == "more than can be listed"


async def test_trades_from_the_first_id_on_are_complete() -> None:
    exchange, kafka = Exchange(), Kafka()
    exchange.trade_times = [NOW_US - each * MINUTE for each in range(1_500, 0, -1)]
    work = kafka.work(exchange, TRADES, NOW_US - 2_000 * MINUTE, NOW_US)
    await work.run()
    assert (kafka.records, work.missing) == (1_500, [])
    assert kafka.mark == Reached(1_500, NOW_US, ())
    assert kafka.is_done


async def test_trades_of_a_market_that_was_listed_again_are_published_from_id_1() -> None:
    exchange, kafka = Exchange(), Kafka()
    kafka.mark = Reached(5_000_000, NOW_US - 100 * MINUTE)
    exchange.trade_times = [NOW_US - each * MINUTE for each in range(120, 0, -1)]
    work = kafka.work(exchange, TRADES, NOW_US - 2_000 * MINUTE, NOW_US)
    await work.run()
    assert kafka.records == 99, "those after the earlier run"
    [missed] = work.missing
    assert missed.startswith("trades after 5000000")
    assert kafka.mark == Reached(120, NOW_US, (missed,))


async def test_an_older_answer_publishes_no_trade_again() -> None:
    exchange, kafka = Exchange(), Kafka()
    exchange.trade_times = [NOW_US - each * MINUTE for each in range(1_500, 300, -1)]
    kafka.mark = Reached(1_300, NOW_US - 200 * MINUTE)
    work = kafka.work(exchange, TRADES, NOW_US - 2_000 * MINUTE, NOW_US)
    await work.run()
    assert (kafka.records, work.missing, kafka.mark) == (0, [], Reached(1_300, NOW_US - 200 * MINUTE))
