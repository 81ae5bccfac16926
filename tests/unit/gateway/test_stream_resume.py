"""Clients of the stream that come back: they get every record since they left, also refills, or learn that some are missing."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from stream_book import read
from test_gateway_history import NOW, SECOND

from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.stream.client import StreamClient
from backpack_streams.gateway.stream.hub import Hub
from backpack_streams.gateway.stream.requests import StreamRequest
from backpack_streams.gateway.topic_names import TRADE_TOPIC


def trade(trade_id: int, *, is_refill: bool) -> dict[str, Any]:
    time_us = NOW - 1000 * SECOND + trade_id * 1000
    return {
        "symbol": "A",
        "source": "REST" if is_refill else "WEBSOCKET",
        "trade_id": trade_id,
        "engine_time": None if is_refill else time_us,
        "event_time": time_us,
        "received_time": time_us,
        "price": Decimal(trade_id),
        "quantity": Decimal(1),
        "quote_quantity": None,
        "is_buyer_maker": False,
    }


class World:
    """A market whose trades a producer writes, and misses; a client that leaves and comes back."""

    def __init__(self, trades_kept: int) -> None:
        self.data = MarketData(trades_kept)
        self.data.set_markets({"A": {"symbol": "A"}})
        self.hub = Hub(self.data, lambda client: None)
        self.data.subscribe(self.hub.on_change)
        self.offset = self.newest = 0
        self.missed: list[int] = []
        self.client: StreamClient | None = None
        self.sequence: int | None = None

    def happen(self, what: str, count: int) -> None:
        if what == "miss":
            self.missed += range(self.newest + 1, self.newest + count + 1)
            self.newest += count
        elif what == "refill":
            for trade_id in self.missed[:count]:
                self.write(trade_id, is_refill=True)
            del self.missed[:count]
        elif what == "trade":
            for _ in range(count):
                self.newest += 1
                self.write(self.newest)
        elif what == "leave" and self.client is not None:
            self.hub.leave(self.client)
            self.client = None

    def write(self, trade_id: int, *, is_refill: bool = False) -> None:
        self.data.take(TRADE_TOPIC, "A", trade(trade_id, is_refill=is_refill), self.offset)
        self.offset += 1

    def read(self) -> list[dict[str, Any]]:
        """What the client is sent; it comes back first if it is away."""
        if self.client is None:
            self.client = StreamClient()
            self.hub.join(self.client)
            resume = {} if self.sequence is None else {"trades.A": self.sequence}
            self.hub.apply(self.client, StreamRequest("subscribe", ["trades"], ["A"], resume=resume))
        messages = [read(message) for message in self.client.take(self.data, 1 << 24)]
        for message in messages:
            if message["type"] in ("snapshot", "update") and message["sequence"] is not None:
                self.sequence = message["sequence"]
        return messages


happenings = st.lists(
    st.tuples(st.sampled_from(["trade", "miss", "refill", "leave", "read"]), st.integers(1, 8)), max_size=60
)


@given(happenings, st.integers(1, 20))
def test_every_trade_is_sent_once_or_known_to_be_missing(happened: list[tuple[str, int]], trades_kept: int) -> None:
    world = World(trades_kept)
    world.write(0)
    world.read()
    sent_to = world.offset
    for what, count in [*happened, ("read", 1)]:
        if what != "read":
            world.happen(what, count)
            continue
        messages = world.read()
        updates = [message["sequence"] for message in messages if message["type"] == "update"]
        if any(message["type"] == "conflated" for message in messages):
            assert world.offset > sent_to
        else:
            assert updates == list(range(sent_to, world.offset))
        sent_to = world.offset


def test_a_refill_while_the_only_client_was_away_is_sent_when_it_is_back() -> None:
    world = World(1_000)
    for what, count in (("trade", 100), ("miss", 30), ("trade", 600), ("read", 1), ("leave", 1), ("refill", 30)):
        world.happen(what, count)
        if what == "read":
            world.read()
    messages = world.read()
    assert [message["type"] for message in messages] == ["subscribed", "resumed"] + ["update"] * 30
    assert [message["data"]["id"] for message in messages[2:]] == list(range(101, 131))


def test_a_refill_that_is_not_kept_is_known_to_be_missing() -> None:
    world = World(10)
    for what, count in (("miss", 5), ("trade", 20), ("read", 1), ("leave", 1), ("refill", 5)):
        world.happen(what, count)
        if what == "read":
            world.read()
    assert [message["type"] for message in world.read()] == ["subscribed", "conflated", "snapshot"]
