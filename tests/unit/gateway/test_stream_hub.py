"""Clients of the stream: bounded memory, heartbeats after all news, no client at the expense of others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_book import Books, ClientBook, read
from websockets.frames import Frame, Opcode

from backpack_streams.gateway.changes import Change
from backpack_streams.gateway.errors import UnavailableError, UnknownSymbolError
from backpack_streams.gateway.stream.allowance import BURST, PER_SECOND, Allowance, cost_of
from backpack_streams.gateway.stream.client import OWN_MESSAGES_AT_MOST, SLOW_SECONDS, CloseCode, StreamClient
from backpack_streams.gateway.stream.hub import Hub
from backpack_streams.gateway.stream.messages import Message, heartbeat, resumed
from backpack_streams.gateway.stream.requests import StreamRequest, read_request

SYMBOLS = ("SOL_USDC", "BTC_USDC_PERP", "AAPL.US_USDC_PERP")


class World:
    """A hub with its books, and the clients it has woken."""

    def __init__(self) -> None:
        self.books = Books(*SYMBOLS)
        self.woken: set[StreamClient] = set()
        self.hub = Hub(self.books, self.woken.add)

    def client(self, **request: Any) -> StreamClient:
        client = StreamClient()
        self.hub.join(client)
        if request:
            self.ask(client, **request)
        return client

    def ask(self, client: StreamClient, **request: Any) -> None:
        asked = {"op": "subscribe", "channels": ["book"], "symbols": ["SOL_USDC"]} | request
        self.hub.apply(client, StreamRequest(**asked))

    def take(self, client: StreamClient, most_bytes: int = 1 << 20) -> list[dict[str, Any]]:
        return [read(message) for message in client.take(self.books, most_bytes)]

    def change_book(self, symbol: str = "SOL_USDC", price: int = 1, size: int = 1) -> None:
        self.books.set_level(symbol, 0, price, size)
        self.books.ids[symbol] = (self.books.ids[symbol] or 0) + 1
        self.hub.on_change(Change("book", symbol, self.books.ids[symbol] or 0, None))
        self.hub.refresh_books()

    def add_row(self, channel: str, sequence: int, symbol: str = "SOL_USDC") -> None:
        self.books.add_row(channel, symbol, sequence, {"id": sequence})
        self.hub.on_change(Change(channel, symbol, sequence, {"id": sequence}))


@pytest.fixture
def world() -> World:
    return World()


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def test_a_client_gets_a_snapshot_and_then_changes(world: World) -> None:
    client = world.client(channels=["book", "trades"], id=7)
    assert world.woken == {client}
    messages = world.take(client)
    assert kinds(messages) == ["subscribed", "snapshot", "snapshot"]
    assert messages[0] == {"type": "subscribed", "id": 7, "channels": ["book", "trades"], "symbols": ["SOL_USDC"]}
    world.change_book()
    world.add_row("trades", 5)
    world.change_book("BTC_USDC_PERP")  # no client follows it
    world.add_row("ticker", 6)
    messages = world.take(client)
    assert [(each["channel"], each["sequence"]) for each in messages] == [("book", 2), ("trades", 5)]
    assert not client.has_pending


def test_a_client_that_does_not_follow_the_change_is_not_woken(world: World) -> None:
    client = world.client(channels=["trades"], symbols=["BTC_USDC_PERP"])
    world.woken.clear()
    world.change_book()
    world.change_book("BTC_USDC_PERP")
    world.add_row("trades", 5)
    assert client.has_pending
    assert world.woken == set()


def test_all_markets_include_those_listed_later(world: World) -> None:
    client = world.client(symbols="all", channels=["book", "ticker"])
    world.take(client)
    assert len(client.subscriptions) == 2 * len(SYMBOLS)
    world.books.levels["NEW_USDC"] = ({}, {})
    world.books.ids["NEW_USDC"], world.books.statuses["NEW_USDC"] = None, "SYNCING"
    world.hub.on_change(Change("markets", "NEW_USDC", 1, {"symbol": "NEW_USDC"}))
    assert [(each["channel"], each["symbol"]) for each in world.take(client)] == [
        ("book", "NEW_USDC"),
        ("ticker", "NEW_USDC"),
    ]
    world.ask(client, op="unsubscribe", symbols="all", channels=["ticker"])
    world.hub.on_change(Change("markets", "NEWER_USDC", 2, {"symbol": "NEWER_USDC"}))
    assert ("ticker", "NEWER_USDC") not in client.subscriptions


def test_an_unknown_market_changes_nothing(world: World) -> None:
    client = world.client()
    before = dict(client.subscriptions)
    with pytest.raises(UnknownSymbolError):
        world.ask(client, symbols=["BTC_USDC_PERP", "NOPE"])
    assert client.subscriptions == before


def test_a_second_subscription_gives_a_new_snapshot_with_its_own_depth(world: World) -> None:
    for price in range(1, 9):
        world.change_book(price=price)
    client = world.client(depth=1)
    assert len(world.take(client)[1]["data"]["bids"]) == 1
    world.ask(client, depth=5)
    messages = world.take(client)
    assert kinds(messages) == ["subscribed", "snapshot"]
    assert len(messages[1]["data"]["bids"]) == 5
    world.change_book(price=50)
    assert kinds(world.take(client)) == ["update"]


def test_an_unsubscribed_channel_is_no_longer_sent(world: World) -> None:
    client = world.client(channels=["book", "trades"], symbols=["SOL_USDC", "BTC_USDC_PERP"])
    world.take(client)
    world.change_book()
    world.ask(client, op="unsubscribe", channels=["book"], symbols=["SOL_USDC", "NEVER_ASKED"])
    assert kinds(world.take(client)) == ["unsubscribed"]
    world.change_book()
    world.change_book("BTC_USDC_PERP")
    assert [each["symbol"] for each in world.take(client)] == ["BTC_USDC_PERP"]


def test_a_heartbeat_comes_after_all_news_however_little_a_client_takes(world: World) -> None:
    client = world.client(symbols="all", channels=["book", "trades"])
    world.take(client)
    for symbol in SYMBOLS:
        world.change_book(symbol)
        world.add_row("trades", 1, symbol)
    world.hub.beat(heartbeat(1, {"market.depth": 1}))
    world.hub.beat(heartbeat(2, {"market.depth": 2}))
    taken = []
    while client.has_pending:
        taken += world.take(client, most_bytes=1)
    assert kinds(taken) == ["update"] * 6 + ["heartbeat"]
    assert taken[-1]["timestamp"] == 2


@given(st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 6), st.integers(0, 2), st.booleans()), max_size=60))
def test_a_slow_client_holds_no_more_than_its_subscriptions(happenings: list[tuple[str, int, int, bool]]) -> None:
    world = World()
    quick, slow = world.client(symbols="all"), world.client(symbols="all")
    books = {client: {symbol: ClientBook() for symbol in SYMBOLS} for client in (quick, slow)}

    def read_all(client: StreamClient) -> None:
        while client.has_pending:
            for message in world.take(client, most_bytes=1):
                if message["type"] in ("snapshot", "update"):
                    books[client][message["symbol"]].apply(message)

    for symbol, price, size, is_read in happenings:
        world.change_book(symbol, price, size)
        read_all(quick)
        if is_read:
            read_all(slow)
        assert len(slow._pending) <= len(SYMBOLS)
        assert books[quick][symbol].matches(world.books.orderbook(symbol, 20))
    read_all(quick)
    read_all(slow)
    for symbol in SYMBOLS:
        for client in (quick, slow):
            assert books[client][symbol].matches(world.books.orderbook(symbol, 20))


def test_a_client_that_takes_nothing_for_too_long_is_disconnected_with_a_reason(world: World) -> None:
    client = world.client()
    client.note_progress(took=False, now=10.0)
    client.check_speed(10.0 + SLOW_SECONDS - 0.1)
    assert client.ending is None
    client.note_progress(took=True, now=15.0)
    client.note_progress(took=False, now=16.0)
    client.check_speed(10.0 + SLOW_SECONDS)
    assert client.ending is None
    client.check_speed(16.0 + SLOW_SECONDS)
    assert client.ending is not None
    assert (client.ending.message.kind, client.ending.code) == ("slow", CloseCode.TRY_AGAIN_LATER)


def test_unread_answers_end_the_stream(world: World) -> None:
    client = world.client(id=1)
    for _ in range(OWN_MESSAGES_AT_MOST):
        world.ask(client)
    assert client.ending is not None
    assert client.ending.code == CloseCode.TRY_AGAIN_LATER


def test_a_status_change_without_an_update_is_sent(world: World) -> None:
    client = world.client(id=1)
    world.take(client)
    world.hub.notice_statuses()
    assert not world.hub.has_changed_books
    world.books.statuses["SOL_USDC"] = "STALE"
    world.hub.notice_statuses()
    world.hub.refresh_books()
    assert [each["data"]["book_status"] for each in world.take(client)] == ["STALE"]


def test_a_market_that_is_gone_does_not_stop_others(world: World) -> None:
    client = world.client(symbols=["SOL_USDC", "BTC_USDC_PERP"])
    world.take(client)
    world.hub.on_change(Change("book", "SOL_USDC", 2, None))
    del world.books.levels["SOL_USDC"]
    world.change_book("BTC_USDC_PERP")
    assert [each["symbol"] for each in world.take(client)] == ["BTC_USDC_PERP"]


def test_a_client_without_subscriptions_gets_nothing(world: World) -> None:
    stranger, client = world.client(), world.client(id=1)
    world.hub.beat(heartbeat(1, {"market.depth": 1}))
    assert not stranger.has_pending
    assert kinds(world.take(client))[-1] == "heartbeat"


def test_a_book_without_followers_is_not_read(world: World) -> None:
    looked: list[str] = []
    ask = world.books.orderbook
    world.books.orderbook = lambda symbol, depth: looked.append(symbol) or ask(symbol, depth)  # type: ignore[method-assign, func-returns-value]
    clients = [world.client(channels=["book", "trades"]) for _ in range(3)]
    assert looked == ["SOL_USDC"]  # one view for all of them
    for client in clients:
        world.hub.leave(client)
    looked.clear()
    world.change_book()
    world.add_row("trades", 1)
    assert looked == []
    assert world.hub.clients == set()


def test_a_subscription_reads_no_rows_unless_it_resumes(world: World) -> None:
    """One request may name all channels of all markets, and nothing else goes on while it is carried out."""
    for number in range(600):
        for symbol in SYMBOLS:
            world.add_row("trades", number, symbol)
    read_rows: list[str] = []
    after, newest = world.books.after, world.books.newest
    world.books.after = lambda *asked: read_rows.append("after") or after(*asked)  # type: ignore[method-assign, func-returns-value]
    world.books.newest = lambda *asked, **more: read_rows.append("newest") or newest(*asked, **more)  # type: ignore[method-assign, func-returns-value]
    clients = [world.client(channels=["trades", "liquidations"], symbols="all") for _ in range(2)]
    assert read_rows == []
    resumed = world.client(channels=["trades"], symbols=list(SYMBOLS), resume={"trades.SOL_USDC": 300})
    assert read_rows == ["after"]
    assert len(world.take(resumed)) == 1 + (1 + 299) + 2
    for client in clients:
        assert kinds(world.take(client)) == ["subscribed"] + ["snapshot"] * 2 * len(SYMBOLS)
    world.add_row("trades", 600)
    assert [world.take(client)[-1]["sequence"] for client in (*clients, resumed)] == [600, 600, 600]


def test_a_client_that_resumes_gets_one_update(world: World) -> None:
    client = world.client(id=1)
    book = ClientBook()
    book.apply(world.take(client)[1])
    world.hub.leave(client)
    for price in (1, 2, 3):
        world.change_book(price=price)
    again = world.client(resume={"book.SOL_USDC": book.sequence})
    messages = world.take(again)
    assert kinds(messages) == ["subscribed", "resumed", "update"]
    book.apply(messages[2])
    assert book.matches(world.books.orderbook("SOL_USDC", 20))


def test_resuming_is_refused_until_kafka_is_read(world: World) -> None:
    world.books.outage = "the records are being read from Kafka"
    with pytest.raises(UnavailableError, match="ask again, or subscribe without resume"):
        world.client(channels=["trades"], resume={"trades.SOL_USDC": 5})
    assert kinds(world.take(world.client(channels=["trades"]))) == ["subscribed", "snapshot"]


def test_changes_of_one_market_do_not_delay_another(world: World) -> None:
    """News is sent in the order in which it became pending."""
    client = world.client(symbols="all")
    world.take(client)
    world.change_book("SOL_USDC")
    world.change_book("BTC_USDC_PERP")
    world.change_book("SOL_USDC")
    assert [each["symbol"] for each in world.take(client)] == ["SOL_USDC", "BTC_USDC_PERP"]


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(1, 300)), max_size=100))
def test_no_client_may_exceed_the_allowance(asks: list[tuple[float, float]]) -> None:
    now = 50.0
    allowance = Allowance(now)
    spent = 0.0
    for wait, cost in asks:
        now += wait
        if allowance.spend(cost, now):
            spent += cost
        assert spent <= BURST + PER_SECOND * (now - 50.0) + 1e-6


def test_a_request_for_more_costs_more() -> None:
    assert cost_of(0) == 1
    assert cost_of(400) == 9


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_follow_rfc_6455(length: int) -> None:
    text = b"x" * length
    assert Message("update", text).frame == Frame(Opcode.TEXT, text).serialize(mask=False)


def test_an_event_names_its_type() -> None:
    text = resumed("book", "SOL_USDC", 5).text.decode()
    assert resumed("book", "SOL_USDC", 5).event.decode() == f"event: resumed\ndata: {text}\n\n"


def test_requests_reach_the_hub_as_clients_write_them(world: World) -> None:
    text = '{"op":"subscribe","id":"a","channels":["klines.1m"],"symbols":"all","decimals":"string"}'
    client = world.client()
    world.hub.apply(client, read_request(text, ("1m",)))
    assert kinds(world.take(client)) == ["subscribed"] + ["snapshot"] * len(SYMBOLS)
