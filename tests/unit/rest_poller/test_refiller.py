"""What the refiller puts on record about times that nobody covered: nothing is missing where the exchange has no later trade."""

from collections.abc import Iterable
from typing import Any, cast

import pytest

from backpack_streams.exchange.rest_wire import Trade
from backpack_streams.feed.publishing import Publishing
from backpack_streams.rest_poller.history import Published
from backpack_streams.rest_poller.history_search import TradeSearch
from backpack_streams.rest_poller.refiller import Refiller
from backpack_streams.rest_poller.refilling import ANSWERS_AT_MOST, Refill
from backpack_streams.sequencing.spans import Spans

STREAM = "trade.SOL_USDC"


class Told:
    """The reporter: what was put on record."""

    def __init__(self) -> None:
        self.closed: list[tuple[str, int, int]] = []

    def gap(self, *, reason: str, last_id: int, next_id: int, **_: Any) -> None:
        self.closed.append((reason, last_id + 1, next_id))


class Exchange:
    """REST, whose newest trade is `newest`, and Kafka, which takes all."""

    def __init__(self, newest: int, lacking: frozenset[int] = frozenset()) -> None:
        self.ids = [each for each in range(newest, 0, -1) if each not in lacking]
        self.published: list[int] = []

    async def search_trades(self, symbol: str, search: TradeSearch) -> int:
        while (page := search.next_page()) is not None:
            offset = page.offset or 0
            ids = self.ids[offset : offset + page.limit]
            search.take([Trade(symbol, each, "1", "1", "1", each, True) for each in ids], len(ids))
        return 1

    async def publish_trades(self, trades: Iterable[Trade], _: int) -> Published:
        published = Spans()
        for each in trades:
            assert each.trade_id is not None
            self.published.append(each.trade_id)
            published.add(each.trade_id, each.trade_id + 1)
        return Published(published, Spans(), had_room=True)


class FakePublishing:
    """As much of it as a refiller asks for."""

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
    assert (await made._trades(open_refill(101))).name == "SETTLES"
    assert told.closed == []
    assert (await made._trades(open_refill(101, answers=ANSWERS_AT_MOST - 1))).name == "CLOSED"
    assert told.closed == [("REFILLED", 101, 102)]
    assert (made.gaps_refilled, made.gaps_incomplete) == (1, 0)


@pytest.mark.parametrize("answers", [0, ANSWERS_AT_MOST - 1])
async def test_all_that_was_missed_is_fetched_though_only_the_first_was_known(answers: int) -> None:
    exchange = Exchange(150)
    made, told = refiller(exchange)
    assert (await made._trades(open_refill(101, answers=answers))).name == "CLOSED"
    assert exchange.published == list(range(101, 151))
    assert told.closed == [("REFILLED", 101, 151)]


async def test_a_part_is_not_on_record_as_all() -> None:
    exchange = Exchange(150, lacking=frozenset({120}))
    made, told = refiller(exchange)
    assert (await made._trades(open_refill(101))).name == "FAILED"
    assert (exchange.published, told.closed) == ([], [])
    assert (await made._trades(open_refill(101, answers=ANSWERS_AT_MOST - 1))).name == "CLOSED"
    assert sorted(told.closed) == [("REFILLED", 101, 120), ("REFILLED", 121, 151), ("REFILL_INCOMPLETE", 120, 121)]


async def test_an_old_answer_proves_nothing() -> None:
    made, told = refiller(Exchange(98))
    assert (await made._trades(open_refill(101))).name == "FAILED"
    assert (await made._trades(open_refill(101, answers=ANSWERS_AT_MOST - 1))).name == "CLOSED"
    assert told.closed == [("REFILL_INCOMPLETE", 101, 102)]


async def test_what_is_known_to_be_missing_before_it_is_fetched_first() -> None:
    exchange = Exchange(100)
    made, told = refiller(exchange)
    assert (await made._trades(open_refill(101, begins=99))).name == "FAILED"
    assert (exchange.published, told.closed) == ([99, 100], [("REFILLED", 99, 101)])
