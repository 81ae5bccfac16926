"""What the refiller records about uncovered times: nothing is missing if the exchange has no later trade."""

from collections.abc import Iterable
from typing import Any, cast

import pytest

from backpack_streams.exchange.rest_errors import RestError, RestRequest, error_from_answer
from backpack_streams.exchange.rest_wire import Trade
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.rest_poller.history import Published
from backpack_streams.rest_poller.history_search import TradeSearch
from backpack_streams.rest_poller.refiller import Refiller, _is_about_the_question
from backpack_streams.rest_poller.refilling import ANSWERS_AT_MOST, Refill, RefillPlan
from backpack_streams.sequencing.spans import Spans

STREAM = "trade.SOL_USDC"
GAP = reports.gap_row(
    stream=STREAM, symbol="SOL_USDC", topic="market.trade", reason="DISCONNECTED", detail="", service="s", detected_us=1
)


class Told:
    """Stands in for the reporter: what was recorded."""

    def __init__(self) -> None:
        self.closed: list[tuple[str, int, int]] = []

    def gap(self, *, reason: str, last_id: int, next_id: int, **_: Any) -> None:
        self.closed.append((reason, last_id + 1, next_id))


class Exchange:
    """REST, with `newest` as its newest trade, and Kafka, which accepts all but `refused`."""

    def __init__(self, newest: int, lacking: frozenset[int] = frozenset()) -> None:
        self.ids = [each for each in range(newest, 0, -1) if each not in lacking]
        self.published: list[int] = []
        self.unreadable: set[int] = set()
        self.asked = 0
        self.fails_at: set[int] = set()
        self.refused: frozenset[int] = frozenset()

    async def next_trades(self, symbol: str, search: TradeSearch) -> int | None:
        page = search.next_page()
        if page is None:
            return None
        self.asked += 1
        if self.asked in self.fails_at:
            raise error_from_answer(RestRequest("GET", "/api/v1/trades/history", symbol), 503, b"")
        offset = page.offset or 0
        ids = self.ids[offset : offset + page.limit]
        rows = [Trade(symbol, each, "1", "1", "1", each, True) for each in ids if each not in self.unreadable]
        search.take(rows, len(ids), [each for each in ids if each in self.unreadable])
        return 1

    next_candles = publish_candles = None

    async def publish_trades(self, trades: Iterable[Trade], _: int) -> Published:
        published, rejected = Spans(), Spans()
        for each in trades:
            assert each.trade_id is not None
            self.published.append(each.trade_id)
            (rejected if each.trade_id in self.refused else published).add(each.trade_id, each.trade_id + 1)
        return Published(published, Spans(), rejected, had_room=True)


class FakePublishing:
    """The part that a refiller uses."""

    def __init__(self) -> None:
        self.reporter = Told()


def refiller(exchange: Exchange) -> tuple[Refiller, Told]:
    publishing = FakePublishing()
    made = Refiller(cast(Publishing, publishing), cast(Any, None), lambda _: True, lambda _: None)
    made._history = cast(Any, exchange)
    return made, publishing.reporter


def open_refill(start: int, *, answers: int = 0, begins: int | None = None) -> Refill:
    return Refill(STREAM, (begins or start, start + 1), 0.0, answers=answers, is_open=True)


async def test_a_quiet_market_has_lost_nothing_and_that_takes_two_answers() -> None:
    made, told = refiller(Exchange(100))
    assert (await made._refill(open_refill(101))).name == "SETTLES"
    assert told.closed == []
    assert (await made._refill(open_refill(101, answers=ANSWERS_AT_MOST - 1))).name == "CLOSED"
    assert told.closed == [("REFILLED", 101, 102)]
    assert (made.gaps_refilled, made.gaps_incomplete) == (1, 0)


@pytest.mark.parametrize("answers", [0, ANSWERS_AT_MOST - 1])
async def test_everything_missed_is_fetched_even_if_only_the_first_trade_was_known(answers: int) -> None:
    exchange = Exchange(150)
    made, told = refiller(exchange)
    assert (await made._refill(open_refill(101, answers=answers))).name == "CLOSED"
    assert exchange.published == list(range(101, 151))
    assert told.closed == [("SEQUENCE_BREAK", 101, 151), ("REFILLED", 101, 151)]


async def test_records_that_kafka_refuses_are_not_recorded_as_refilled() -> None:
    exchange = Exchange(150)
    exchange.refused = frozenset({110, 111, 150})
    made, told = refiller(exchange)
    assert (await made._refill(open_refill(101))).name == "CLOSED"
    assert sorted(told.closed) == [
        ("REFILLED", 101, 110),
        ("REFILLED", 112, 150),
        ("REFILL_INCOMPLETE", 110, 112),
        ("REFILL_INCOMPLETE", 150, 151),
        ("SEQUENCE_BREAK", 101, 151),
    ]


async def test_a_partial_refill_is_not_recorded_as_complete() -> None:
    exchange = Exchange(150, lacking=frozenset({120}))
    made, told = refiller(exchange)
    assert (await made._refill(open_refill(101))).name == "FAILED"
    assert exchange.published == list(range(101, 120))
    assert told.closed == [("SEQUENCE_BREAK", 101, 151), ("REFILLED", 101, 120)], (
        "all of it is on record before a part is refilled"
    )
    told.closed.clear()
    rest = Refill(STREAM, (120, 151), 0.0, answers=ANSWERS_AT_MOST - 1)
    assert (await made._refill(rest)).name == "CLOSED"
    assert sorted(told.closed) == [("REFILLED", 121, 151), ("REFILL_INCOMPLETE", 120, 121)]


async def test_a_failed_page_does_not_affect_others_even_after_a_restart() -> None:
    exchange = Exchange(9_000)
    exchange.fails_at = {5}
    made, told = refiller(exchange)
    plan = RefillPlan()
    plan.take(GAP | {"last_id": 1_000, "next_id": 8_001}, 0.0)
    first = plan.next(0.0, "trade")
    assert first is not None
    with pytest.raises(RestError):
        await made._refill(first)
    done = len(exchange.published)
    assert exchange.published == list(range(1_001, 1_001 + done))
    assert done >= 3 * 800, "what three pages brought"
    for reason, start, end in told.closed:  # as another instance would read them that starts now
        plan.take(GAP | {"reason": reason, "last_id": start - 1, "next_id": end}, 1.0)
    exchange.asked, exchange.fails_at = 0, set()
    plan.failed(first, 1.0, had_answer=False)
    rest = plan.next(100.0, "trade")
    assert rest is not None
    assert rest.span == (1_001 + done, 8_001)
    assert (await made._refill(rest)).name == "CLOSED"
    assert exchange.published == list(range(1_001, 8_001)), "in order, and each once"
    assert exchange.asked == 1 + -(-(7_000 - done) // 900)


async def test_an_unreadable_row_is_skipped() -> None:
    exchange = Exchange(150)
    exchange.unreadable = {120}
    made, told = refiller(exchange)
    assert (await made._refill(Refill(STREAM, (101, 141), 0.0))).name == "CLOSED"
    assert exchange.published == [*range(101, 120), *range(121, 141)]
    assert sorted(told.closed) == [("REFILLED", 101, 120), ("REFILLED", 121, 141), ("REFILL_INCOMPLETE", 120, 121)]


@pytest.mark.parametrize(
    ("status", "is_about_it"), [(400, True), (404, True), (403, False), (451, False), (429, False), (503, False)]
)
def test_a_general_refusal_says_nothing_about_the_gap(status: int, is_about_it: bool) -> None:
    error = error_from_answer(RestRequest("GET", "/api/v1/trades"), status, b"")
    assert _is_about_the_question(error) is is_about_it


async def test_an_old_answer_proves_nothing() -> None:
    made, told = refiller(Exchange(98))
    assert (await made._refill(open_refill(101))).name == "FAILED"
    assert (await made._refill(open_refill(101, answers=ANSWERS_AT_MOST - 1))).name == "CLOSED"
    assert told.closed == [("REFILL_INCOMPLETE", 101, 102)]


async def test_trades_known_to_be_missing_before_the_gap_are_fetched_first() -> None:
    exchange = Exchange(100)
    made, told = refiller(exchange)
    assert (await made._refill(open_refill(101, begins=99))).name == "FAILED"
    assert (exchange.published, told.closed) == ([99, 100], [("REFILLED", 99, 101)])
