"""Endpoints are polled page by page, no further back than news, and within the exchange's limits."""

import asyncio
import json
from typing import Any, cast

import pytest

from backpack_streams.exchange.limits import (
    GENERAL_REQUESTS_PER_MINUTE,
    HISTORICAL_REQUESTS_PER_MINUTE,
    LimitClass,
    Priority,
)
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import Shape, decode_rows
from backpack_streams.exchange.rest_errors import RestError, RestRequest, RestUnusableAnswerError
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.unknown_fields import OTHER_FIELDS
from backpack_streams.rest_poller.asking import MOST_FIELDS, Asker
from backpack_streams.rest_poller.catalogue import Publish, Subject
from backpack_streams.rest_poller.changes import History
from backpack_streams.rest_poller.publication import Polled
from backpack_streams.rest_poller.settings import RestPollerSettings
from unit.rest_poller.polled_answers import CODEC, NOW_US, TABLE, endpoint_of

PERPETUALS, LENDING_MARKETS, SHARE = 110, 60, RestPollerSettings(bootstrap_servers=("nowhere:1",)).rate_limit_share


class Exchange:
    """Has these rows, and does not know some kinds of market."""

    def __init__(self, rows: list[dict[str, Any]], unknown_kinds: frozenset[str] = frozenset()) -> None:
        self._rows = rows
        self._unknown_kinds = unknown_kinds
        self.offsets: list[int] = []

    async def rows(
        self, path: str, parameters: list[tuple[str, str | int]], read: Any, *, shape: Shape, **_: Any
    ) -> Any:
        if self._unknown_kinds & {str(value) for _, value in parameters}:
            raise RestUnusableAnswerError(RestRequest("GET", path), "no such kind", status=400)
        asked = dict(parameters)
        limit, offset = int(asked.get("limit", 10**6)), int(asked.get("offset", 0))
        self.offsets.append(offset)
        kinds = {value for name, value in parameters if name == "marketType"}
        rows = [row for row in self._rows if not kinds or row["marketType"] in kinds][offset : offset + limit]
        return Answer(decode_rows(json.dumps(rows).encode(), read, shape), len(self.offsets), NOW_US, 200)


def ask(exchange: Exchange, topic: str, history: History | None = None, subject: str = "") -> Polled:
    histories = {topic: history or History()}
    return asyncio.run(Asker(cast(RestClient, exchange), CODEC, TABLE, histories).ask(endpoint_of(topic), subject))


def rates(count: int) -> list[dict[str, Any]]:
    """The newest first, one per second."""
    at = NOW_US // 1_000_000
    return [{"symbol": "X", "intervalEndTimestamp": (at - back) * 1000, "fundingRate": "0"} for back in range(count)]


def test_a_history_is_read_back_to_its_beginning_and_then_to_what_is_known() -> None:
    exchange = Exchange(rates(25_000))
    polled = ask(exchange, "perp.funding_rate", subject="X")
    assert (len(polled.rows), exchange.offsets, polled.is_complete) == (25_000, [0, 10_000, 20_000], True)
    history = History()
    history.said("X", NOW_US - 10_500 * 1_000_000)
    exchange.offsets.clear()
    assert len(ask(exchange, "perp.funding_rate", history, "X").rows) == 20_000
    history.said("X", NOW_US - 5_000_000)
    exchange.offsets.clear()
    ask(exchange, "perp.funding_rate", history, "X")
    assert exchange.offsets == [0]


def test_names_of_unknown_fields_are_bounded() -> None:
    rows = [row | {f"new{number}": 1} for number, row in enumerate(rates(1_000))]
    topic = "perp.funding_rate"
    asker = Asker(cast(RestClient, Exchange(rows)), CODEC, TABLE, {topic: History()})
    asyncio.run(asker.ask(endpoint_of(topic), "X"))
    assert len(asker.unknown_fields) == MOST_FIELDS + 1
    assert asker.unknown_fields[OTHER_FIELDS] == 1_000 - MOST_FIELDS


def test_a_catalogue_in_pages_is_one_answer_as_old_as_its_oldest_page() -> None:
    exchange = Exchange([{"slug": f"s{number}", "predictionMarkets": []} for number in range(2_000)])
    polled = ask(exchange, "reference.prediction_event")
    assert (len(polled.rows), exchange.offsets, polled.age_seconds) == (2_000, [0, 1_000, 2_000], 3)


def test_a_kind_that_the_exchange_does_not_know_does_not_affect_the_others() -> None:
    base = {"baseSymbol": "A", "quoteSymbol": "B", "orderBookState": "Open"}
    rows = [base | {"symbol": kind, "marketType": kind} for kind in ("SPOT", "PERP", "DATED")]
    polled = ask(Exchange(rows, frozenset({"RFQ"})), "reference.market")
    assert sorted(row.fields["symbol"] for row in polled.rows) == ["DATED", "PERP", "SPOT"]
    everything = frozenset(value for _, value in endpoint_of("reference.market").parameters)
    with pytest.raises(RestError, match="no such kind"):
        ask(Exchange(rows, everything), "reference.market")


def test_polling_leaves_room_for_books_within_the_share_of_each_limit() -> None:
    requests = {Subject.ALL: 1, Subject.PERPETUAL: PERPETUALS, Subject.LENDING_MARKET: LENDING_MARKETS}
    a_minute = {
        limit: sum(requests[each.subject] * 60 / each.interval for each in TABLE if each.limit_class is limit)
        for limit in LimitClass
    }
    assert sum(a_minute.values()) < GENERAL_REQUESTS_PER_MINUTE * SHARE / 10
    assert a_minute[LimitClass.HISTORICAL] < HISTORICAL_REQUESTS_PER_MINUTE * SHARE * 0.6


def test_no_endpoint_precedes_a_snapshot_and_histories_come_last() -> None:
    assert min(each.priority for each in TABLE) > Priority.SNAPSHOT
    assert {each.priority for each in TABLE if each.publish is Publish.ONCE_SETTLED} == {Priority.HISTORY}
