"""The market list on the bus: a market is deleted from it once that is confirmed, and never for one odd answer."""

from typing import Any

from backpack_streams.rest_poller.poller import Poller
from backpack_streams.rest_poller.settings import RestPollerSettings
from unit.rest_poller.polled_answers import NOW_US, Bus, answer, endpoint_of

MARKETS = endpoint_of("reference.market")


def row(symbol: str, state: str | None = "Open") -> dict[str, Any]:
    return {
        "symbol": symbol, "baseSymbol": "X", "quoteSymbol": "USDC", "marketType": "PERP", "orderBookState": state,
        "createdAt": "2026-01-01T00:00:00", "visible": True,
        "filters": {"price": {"tickSize": "0.1", "minPrice": "0.1"}, "quantity": {"minQuantity": "1", "stepSize": "1"}},
    }  # fmt: skip


class Polling:
    """A poller of the market list whose answers are given to it."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.poller = Poller(RestPollerSettings())
        self.poller._publication = self.bus.publication()

    def answers(self, at: int, *rows: dict[str, Any], age: int | None = None) -> list[str]:
        """What is sent then."""
        polled = answer(MARKETS, list(rows), received_us=NOW_US + at * 1_000_000, age_seconds=age)
        kept = self.poller._learn(MARKETS, polled, float(at))
        self.poller._publication.publish(MARKETS, polled, kept)
        return self.bus.keys()

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


async def test_what_the_topic_held_before_the_start_is_kept_alike() -> None:
    first, second = Polling(), Polling()
    first.answers(0, row("A"), row("B"), row("C"))
    first.answers(60, row("A"), row("B"), row("C", "Closed"))
    publication = first.bus.publication()
    publication.publish(MARKETS, answer(MARKETS, [row("A"), row("B"), row("C")]))
    for sent in first.bus.sent:
        second.poller._recalls(MARKETS, sent.key, sent.record)
    second.poller._recalls(MARKETS, "C", None)
    assert second.answers(0) == []
    assert second.poller._markets == [], "what is recalled is no list yet"
    for at in (60, 120, 180):
        assert second.answers(at, row("A")) == []
        assert second.open_markets == ["A", "B"]
    assert second.answers(240, row("A")) == ["-B"]


async def test_a_foreign_record_in_the_topic_is_no_market() -> None:
    polling = Polling()
    polling.poller._recalls(MARKETS, "foreign", {"raw": "{}"})
    polling.answers(0, row("A"))
    assert polling.open_markets == ["A"]
