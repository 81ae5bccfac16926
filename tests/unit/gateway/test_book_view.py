"""Updates of a book: however many updates a client misses, it ends with the same book as from the whole sequence."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from stream_book import Books, ClientBook, read

from backpack_streams.gateway.stream import book_view
from backpack_streams.gateway.stream.book_view import BookView
from backpack_streams.gateway.stream.subscriptions import BookSubscription

SYMBOL = "SOL_USDC"
DEPTH = 5


class Step(NamedTuple):
    """A change of the book, and which of two clients reads afterwards."""

    levels: list[tuple[int, int, int]]
    advance: int
    status: str
    reads: set[int]


levels = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12), st.integers(0, 3)), max_size=4)
advances = st.sampled_from([1, 1, 1, 2, 0, -3, -1000])
steps = st.lists(
    st.builds(Step, levels, advances, st.sampled_from(["LIVE", "LIVE", "STALE"]), st.sets(st.integers(0, 1))),
    max_size=30,
)


def happen(books: Books, step: Step) -> None:
    for side, price, size in step.levels:
        books.set_level(SYMBOL, side, price + 20 * side, size)
    before = books.ids[SYMBOL]
    books.ids[SYMBOL] = None if step.advance == -1000 else max(0, (before or 0) + step.advance)
    books.statuses[SYMBOL] = step.status


def take(subscription: BookSubscription, books: Books) -> list[dict[str, Any]]:
    return [read(message) for message in subscription.take(books)]


def apply(client: ClientBook, messages: Iterable[dict[str, Any]]) -> None:
    for message in messages:
        client.apply(message)


@given(steps, st.sampled_from([1, DEPTH, 100]), st.sampled_from(["number", "string"]))
def test_conflated_updates_lead_to_the_same_book(sequence: list[Step], depth: int, decimals: Any) -> None:
    books = Books(SYMBOL)
    view = BookView(SYMBOL, depth, decimals)
    view.refresh(books.orderbook(SYMBOL, depth))
    subscriptions = [BookSubscription(view, None) for _ in range(3)]
    clients = [ClientBook() for _ in subscriptions]
    for step in sequence:
        happen(books, step)
        view.refresh(books.orderbook(SYMBOL, depth))
        for number in {2, *step.reads}:  # the last client reads every update, the others some
            apply(clients[number], take(subscriptions[number], books))
            assert clients[number].matches(books.orderbook(SYMBOL, depth))
    for client, subscription in zip(clients, subscriptions, strict=True):
        apply(client, take(subscription, books))
        assert client.matches(books.orderbook(SYMBOL, depth))


@given(steps, st.data())
def test_a_client_that_resumes_has_the_same_book(sequence: list[Step], data: st.DataObject) -> None:
    """It left at some point, and returns later with its sequence."""
    books = Books(SYMBOL)
    view = BookView(SYMBOL, DEPTH, "number")
    view.refresh(books.orderbook(SYMBOL, DEPTH))
    left_at = data.draw(st.integers(0, len(sequence)))
    client = ClientBook()
    subscription = BookSubscription(view, None)
    for number, step in enumerate(sequence):
        if number == left_at:
            apply(client, take(subscription, books))
        happen(books, step)
        view.refresh(books.orderbook(SYMBOL, DEPTH))
    if left_at == len(sequence):
        apply(client, take(subscription, books))
    again = BookSubscription(view, client.sequence)
    apply(client, [message for message in take(again, books) if message["type"] != "resumed"])
    assert client.matches(books.orderbook(SYMBOL, DEPTH))


def test_a_client_that_resumes_at_another_gateway_gets_the_status_of_an_unchanged_book() -> None:
    books = Books(SYMBOL)
    client = ClientBook()
    apply(client, take(BookSubscription(view_of(books), None), books))
    books.statuses[SYMBOL] = "STALE"
    resumed, update = take(BookSubscription(view_of(books), client.sequence), books)
    assert resumed["type"] == "resumed"
    assert (update["type"], update["previous"], update["sequence"]) == ("update", client.sequence, client.sequence)
    assert (update["data"]["book_status"], update["data"]["bids"], update["data"]["asks"]) == ("STALE", [], [])


def view_of(books: Books, depth: int = DEPTH) -> BookView:
    view = BookView(SYMBOL, depth, "number")
    view.refresh(books.orderbook(SYMBOL, depth))
    return view


def test_a_level_that_leaves_the_depth_is_removed_and_comes_back() -> None:
    books = Books(SYMBOL)
    for price in range(1, 7):
        books.set_level(SYMBOL, 0, price, 1)
    view = view_of(books)
    subscription = BookSubscription(view, None)
    subscription.take(books)
    books.set_level(SYMBOL, 0, 9, 2)
    books.ids[SYMBOL] = 2
    view.refresh(books.orderbook(SYMBOL, DEPTH))
    [update] = take(subscription, books)
    assert update["data"]["bids"] == [[9, 2], [2, 0]]
    books.set_level(SYMBOL, 0, 9, 0)
    books.ids[SYMBOL] = 3
    view.refresh(books.orderbook(SYMBOL, DEPTH))
    [update] = take(subscription, books)
    assert (update["previous"], update["sequence"]) == (2, 3)
    assert update["data"]["bids"] == [[9, 0], [2, 1]]


def test_no_change_gives_no_update_and_a_status_change_alone_gives_one() -> None:
    books = Books(SYMBOL)
    view = view_of(books)
    subscription = BookSubscription(view, None)
    subscription.take(books)
    assert not view.refresh(books.orderbook(SYMBOL, DEPTH))
    assert subscription.take(books) == []
    books.statuses[SYMBOL] = "STALE"
    assert view.refresh(books.orderbook(SYMBOL, DEPTH))
    [update] = take(subscription, books)
    assert (update["previous"], update["sequence"], update["data"]["book_status"]) == (1, 1, "STALE")
    assert update["data"]["bids"] == update["data"]["asks"] == []


def test_clients_at_one_position_share_one_encoded_message() -> None:
    books = Books(SYMBOL)
    view = view_of(books)
    subscriptions = [BookSubscription(view, None) for _ in range(50)]
    for each in subscriptions:
        each.take(books)
    books.set_level(SYMBOL, 1, 30, 1)
    books.ids[SYMBOL] = 2
    view.refresh(books.orderbook(SYMBOL, DEPTH))
    messages = [message for each in subscriptions for message in each.take(books)]
    assert len(messages) == 50
    assert len({id(message) for message in messages}) == 1
    assert len({id(message.frame) for message in messages}) == 1


def test_a_client_that_is_too_far_behind_gets_a_snapshot() -> None:
    books = Books(SYMBOL)
    view = view_of(books)
    slow, slower = BookSubscription(view, None), BookSubscription(view, None)
    slower.take(books)
    for number in range(2, book_view.VERSIONS_KEPT + 3):
        books.ids[SYMBOL] = number
        books.set_level(SYMBOL, 0, number, 1)
        view.refresh(books.orderbook(SYMBOL, DEPTH))
        if number == 2:
            slow.take(books)
    assert [message["type"] for message in take(slow, books)] == ["update"]
    assert [message["type"] for message in take(slower, books)] == ["snapshot"]
    assert BookSubscription(view, 1).sequence is None
    assert BookSubscription(view, 3).sequence == 3


def test_a_snapshot_has_the_fields_of_the_rest_answer() -> None:
    books = Books(SYMBOL)
    books.set_level(SYMBOL, 0, 9, 2)
    [message] = take(BookSubscription(view_of(books), None), books)
    assert message == {
        "type": "snapshot",
        "channel": "book",
        "symbol": SYMBOL,
        "sequence": 1,
        "data": {
            "asks": [],
            "bids": [{"price": 9, "size": 2}],
            "last_update_id": 1,
            "book_status": "LIVE",
            "reason": "",
            "as_of": 1_000_000,
            "age_ms": 5,
        },
    }


def test_a_view_at_rest_keeps_what_a_client_that_comes_back_soon_needs() -> None:
    books = Books(SYMBOL)
    view = view_of(books)
    for number in range(2, 102):
        books.ids[SYMBOL] = number
        books.set_level(SYMBOL, 0, number, 1)
        view.refresh(books.orderbook(SYMBOL, DEPTH))
    assert view.position_of(50) is not None
    view.rest()
    assert view.position_of(100) is not None
    assert view.position_of(50) is None
