"""The market list on the bus: a market is deleted once its removal is confirmed, and never for one odd answer."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from backpack_streams.rest_poller import poller as poller_module
from backpack_streams.rest_poller.poller import Poller
from backpack_streams.rest_poller.settings import RestPollerSettings
from unit.rest_poller.polled_answers import NOW_US, Bus, Sent, answer, endpoint_of

MARKETS = endpoint_of("reference.market")


def row(symbol: str, state: str | None = "Open") -> dict[str, Any]:
    return {
        "symbol": symbol, "baseSymbol": "X", "quoteSymbol": "USDC", "marketType": "PERP", "orderBookState": state,
        "createdAt": "2026-01-01T00:00:00", "visible": True,
        "filters": {"price": {"tickSize": "0.1", "minPrice": "0.1"}, "quantity": {"minQuantity": "1", "stepSize": "1"}},
    }  # fmt: skip


class Polling:
    """A poller of the market list with given answers."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.poller = Poller(RestPollerSettings())
        self.poller._publication = self.bus.publication()

    def answers(self, at: int, *rows: dict[str, Any], age: int | None = None) -> list[str]:
        """Returns the keys that are sent."""
        polled = answer(MARKETS, list(rows), received_us=NOW_US + at * 1_000_000, age_seconds=age)
        kept = self.poller._learn(MARKETS, polled, float(at))
        self.poller._publication.publish(MARKETS, polled, kept)
        return self.bus.keys()

    def recalls(self, at: int, sent: Iterable[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
        """The records that the topic holds when the poller starts."""
        monkeypatch.setattr(poller_module, "now_us", lambda: NOW_US + at * 1_000_000)
        monkeypatch.setattr(poller_module, "time", SimpleNamespace(monotonic=lambda: float(at)))
        for each in sent:
            self.poller._recalls(MARKETS, each.key, each.record, each.timestamp_ms)

    @property
    def open_markets(self) -> list[str]:
        return self.poller._selection.of(self.poller._markets)


async def test_a_market_is_deleted_once_fresh_answers_confirm_it() -> None:
    polling = Polling()
    assert polling.answers(0, row("A"), row("B")) == ["A", "B"]
    for at in (60, 120, 180):
        assert polling.answers(at, row("A")) == []
        assert polling.open_markets == ["A", "B"]
    assert polling.answers(240, row("A")) == ["-B"]
    assert polling.open_markets == ["A"]


async def test_odd_answers_delete_nothing() -> None:
    polling = Polling()
    polling.answers(0, row("A"), row("B"))
    assert polling.answers(60) == []
    assert polling.answers(120, row("A"), row("B", None)) == []
    assert polling.answers(180, row("A"), age=100) == []
    assert polling.answers(240, row("A")) == []
    assert polling.open_markets == ["A", "B"]
    assert polling.answers(300, row("A"), row("B", "Closed")) == ["B"]
    assert polling.open_markets == ["A"]


async def test_markets_held_by_the_topic_before_the_start_are_kept_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Polling(), Polling()
    first.answers(0, row("A"), row("B"), row("C"))
    first.answers(60, row("A"), row("B"), row("C", "Closed"))
    publication = first.bus.publication()
    publication.publish(MARKETS, answer(MARKETS, [row("A"), row("B"), row("C")]))
    deletion = Sent(MARKETS.topic, "C", None, 0)
    second.recalls(0, [*first.bus.sent, deletion], monkeypatch)
    assert second.answers(0) == []
    assert second.poller._markets == [], "what is recalled is no list yet"
    for at in (60, 120, 180):
        assert second.answers(at, row("A")) == []
        assert second.open_markets == ["A", "B"]
    assert second.answers(240, row("A")) == ["-B"]


async def test_a_restart_with_an_old_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from caches that hold the list of ten minutes ago."""
    first = Polling()
    old = row("A"), row("B"), row("GONE")
    said: list[Sent] = []
    for at, rows in (
        (0, old),
        (540, (row("A"), row("B"))),
        (660, (row("A"), row("B"))),
        (780, (row("A"), row("B"))),
        (840, (row("A", "Closed"), row("B"), row("NEW"))),
    ):
        polled = answer(MARKETS, list(rows), received_us=NOW_US + at * 1_000_000)
        kept = first.poller._learn(MARKETS, polled, float(at))
        first.poller._publication.publish(MARKETS, polled, kept)
    said = list(first.bus.sent)
    assert first.bus.keys() == ["A", "B", "GONE", "-GONE", "A", "NEW"]
    second = Polling()
    second.recalls(900, said, monkeypatch)
    assert second.answers(900, *old, age=600) == []
    assert second.open_markets == ["B", "NEW"], "nobody asks for the book of a closed market either"
    for at in (930, 990, 1110, 1170):
        assert second.answers(at, row("A", "Closed"), row("B"), row("NEW")) == []
    assert second.answers(1230, row("A"), row("B"), row("NEW")) == ["A"]


async def test_a_record_under_another_key_is_no_market() -> None:
    polling = Polling()
    polling.poller._recalls(MARKETS, "foreign", {"symbol": "B", "raw": "{}"}, 0)
    polling.answers(0, row("A"))
    assert polling.open_markets == ["A"]
