"""When the builder writes what of its books: fed with encoded records as Kafka has them, and with a clock of its own."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook
from backpack_streams.book_builder.records import checkpoint_row, recalled_top, top_row
from backpack_streams.books.joining import _beside
from backpack_streams.books.market_book import Status
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.partitioner import partition_of

CODEC = Codec()
PARTITIONS = 8
ONE = 10**18
SYMBOL, OTHER = "BTC_USDC_PERP", "SOL_USDC"
KEY = SYMBOL.encode()
HOME = partition_of(KEY, PARTITIONS)
PLACE = ("backpack.market.depth", HOME)
RULES = CheckpointRules(updates=10, seconds=5.0, reach=100)
Levels = Sequence[tuple[int, int]]


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


def levels(pairs: Levels) -> list[dict[str, bytes]]:
    return [{"price": bytes_from_unscaled(p * ONE), "quantity": bytes_from_unscaled(q * ONE)} for p, q in pairs]


def update(offset: int, first: int, last: int, bids: Levels = (), asks: Levels = (), key: bytes = KEY) -> Record:
    row: dict[str, Any] = {
        "symbol": key.decode(),
        "source": "WEBSOCKET",
        "event_time": last * 1000,
        "engine_time": last * 1000,
        "received_time": last * 1000,
        "first_update_id": first,
        "last_update_id": last,
        "bids": levels(bids),
        "asks": levels(asks),
    }
    return Record("market.depth", HOME, offset, key, CODEC.encoder("DepthUpdate", "t")(row))


def snapshot(last: int, offset: int = 0, origin: str = "SEED", **fields: Any) -> Record:
    row: dict[str, Any] = {
        "symbol": SYMBOL,
        "source": "REST",
        "engine_time": last * 1000,
        "received_time": last * 1000,
        "origin": origin,
        "last_update_id": last,
        "bids": levels([(99, 1), (98, 2)]),
        "asks": levels([(101, 1), (102, 2)]),
        "bids_complete": True,
        "asks_complete": True,
        "delta_topic": PLACE[0],
        "delta_partition": HOME,
        "delta_offset": offset,
    } | fields
    return Record("market.book_snapshot", 0, 0, KEY, CODEC.encoder("BookSnapshot", "t")(row))


def gap(offset: int, last_id: int, next_id: int | None = None) -> Record:
    row = {
        "stream": f"depth.{SYMBOL}",
        "symbol": SYMBOL,
        "topic": "market.depth",
        "reason": "UNREADABLE_FRAME",
        "detail": "",
        "service": "test",
        "detected_time": 1,
        "last_id": last_id,
        "next_id": next_id,
    }
    return Record("ops.gap", 0, offset, KEY, CODEC.encoder("Gap", "t")(row))


@pytest.fixture
def keeper() -> BookKeeper:
    """One partition, caught up, with a book at update 100."""
    keeper = BookKeeper(CODEC, RULES, top_levels=2, top_interval_seconds=0.1)
    keeper.open(HOME, PARTITIONS, 0, 0, (0, 0))
    keeper.take_snapshot(snapshot(100), 0.0)
    keeper.on_tick(0.0)
    return keeper


def due(keeper: BookKeeper, now: float) -> list[tuple[int | None, int]]:
    return [(kept.market.last_update_id, offset) for kept, offset in keeper.checkpoints(now)]


def write_tops(keeper: BookKeeper, now: float) -> list[dict[str, Any]]:
    """What the shell does."""
    rows = []
    for kept, top in keeper.tops(now):
        rows.append(top_row(kept, top, 2, 0))
        kept.on_top(top)
    return rows


def only_book(keeper: BookKeeper) -> KeptBook:
    [kept] = keeper._partitions[HOME].books.values()
    return kept


def test_it_is_known_for_how_long_a_book_cannot_be_used(keeper: BookKeeper) -> None:
    keeper.look_for_unusable(10.0)
    assert keeper.unusable_seconds(20.0) == 0.0
    keeper.take_updates(HOME, [update(0, 150, 150, [(99, 5)])], 20.0)
    keeper.on_tick(30.0)  # what was to come before it did not
    for now in (30.0, 31.0, 32.0):
        keeper.look_for_unusable(now)
    assert only_book(keeper).market.status is Status.STALE
    assert keeper.unusable_seconds(35.0) == 5.0
    keeper.take_snapshot(snapshot(150), 40.0)
    keeper.look_for_unusable(41.0)
    assert only_book(keeper).market.status is Status.LIVE
    assert keeper.unusable_seconds(45.0) == 0.0


def test_a_book_that_went_to_another_builder_is_not_unusable_here(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 150, 150, [(99, 5)])], 20.0)
    keeper.on_tick(30.0)
    keeper.look_for_unusable(30.0)
    keeper.close([HOME])
    assert keeper.unusable_seconds(45.0) == 0.0
    assert not keeper.has_caught_up(HOME)


def test_a_book_that_did_not_change_is_not_checkpointed(keeper: BookKeeper) -> None:
    assert due(keeper, 1_000.0) == []


def test_a_book_that_changed_is_checkpointed_when_its_time_has_come(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 10.0)
    assert due(keeper, 14.9) == []
    assert due(keeper, 15.0) == [(101, 1)]


def test_many_updates_do_not_wait_for_the_time(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(n, 101 + n, 101 + n, [(99, n + 1)]) for n in range(9)], 10.0)
    assert due(keeper, 10.0) == []
    keeper.take_updates(HOME, [update(9, 110, 110, [(99, 3)])], 10.0)
    assert due(keeper, 10.0) == [(110, 10)]


def test_a_checkpoint_that_was_written_is_not_written_again(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 10.0)
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_snapshot(101, offset)
    assert due(keeper, 1_000.0) == []
    keeper.take_snapshot(snapshot(101, offset=1, origin="CHECKPOINT"), 15.1)  # it comes back from Kafka
    assert due(keeper, 1_000.0) == []


def test_one_that_had_no_room_is_due_again(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 10.0)
    assert due(keeper, 15.0) == due(keeper, 15.1) == [(101, 1)]


def test_a_quiet_books_checkpoint_is_renewed_before_readers_have_far_to_go_back(keeper: BookKeeper) -> None:
    other = next(
        name
        for n in range(1000)
        if partition_of((name := f"M{n}").encode(), PARTITIONS) == HOME and name != SYMBOL
    ).encode()  # fmt: skip
    keeper.take_updates(HOME, [update(n, n + 1, n + 1, key=other) for n in range(99)], 10.0)
    assert due(keeper, 10.0) == []
    keeper.take_updates(HOME, [update(99, 100, 100, key=other)], 10.0)
    assert due(keeper, 10.0) == [(100, 100)]


def test_a_seed_ahead_of_the_updates_is_not_buried_under_a_checkpoint(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 10.0)
    keeper.take_snapshot(snapshot(200), 11.0)
    assert due(keeper, 1_000.0) == []


def test_a_seed_behind_the_book_is_followed_by_a_checkpoint(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 10.0)
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_snapshot(101, offset)
    keeper.take_snapshot(snapshot(100), 16.0)
    assert due(keeper, 20.9) == []
    assert due(keeper, 21.0) == [(101, 1)]


def test_a_book_that_broke_is_not_checkpointed_and_only_the_exchange_heals_it(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 10.0)
    keeper.take_updates(HOME, [update(1, 105, 105, [(99, 6)])], 10.0)
    keeper.on_tick(10.5)  # nobody brought what is missing
    assert keeper.books[SYMBOL].status is Status.STALE
    assert due(keeper, 1_000.0) == []
    keeper.take_snapshot(snapshot(105, origin="CHECKPOINT"), 11.0)
    assert keeper.books[SYMBOL].status is Status.STALE
    keeper.take_snapshot(snapshot(105), 12.0)
    assert keeper.books[SYMBOL].status is Status.LIVE


def test_no_checkpoint_leaves_out_an_update_that_came_early(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)]), update(1, 103, 103, [(99, 7)])], 10.0)
    assert keeper.books[SYMBOL].status is Status.LIVE
    assert due(keeper, 1_000.0) == []
    assert list(keeper.last_checkpoints([HOME])) == []
    keeper.take_updates(HOME, [update(2, 102, 102, [(99, 6)])], 10.1)
    assert due(keeper, 1_000.0) == [(103, 3)]


def test_nothing_is_written_before_the_partition_has_caught_up_with_updates_and_gaps() -> None:
    keeper = BookKeeper(CODEC, RULES, 2, 0.1)
    keeper.open(HOME, PARTITIONS, 0, 2, (0, 1))
    keeper.take_snapshot(snapshot(100), 0.0)
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 0.0)
    keeper.on_tick(9.0)
    assert (due(keeper, 9.0), write_tops(keeper, 9.0)) == ([], [])
    keeper.take_updates(HOME, [update(1, 102, 102, [(99, 6)])], 9.0)
    keeper.on_tick(9.0)
    assert not keeper.is_caught_up
    keeper.take_gap(gap(0, last_id=50, next_id=52), 9.0)
    keeper.on_tick(9.0)
    assert keeper.is_caught_up
    assert [row["status"] for row in write_tops(keeper, 9.0)] == ["LIVE"]
    assert due(keeper, 9.0) == [(102, 2)]


def test_a_gap_that_no_update_shows_takes_the_book_out_of_live(keeper: BookKeeper) -> None:
    write_tops(keeper, 1.0)
    keeper.take_gap(gap(0, last_id=100), 2.0)
    keeper.on_tick(2.0)
    [row] = write_tops(keeper, 2.0)
    assert (row["status"], row["last_update_id"]) == ("STALE", 100)
    assert "100" in row["reason"]


def test_a_top_is_told_once_an_interval_and_only_when_it_changed(keeper: BookKeeper) -> None:
    assert [row["last_update_id"] for row in write_tops(keeper, 1.0)] == [100]
    assert write_tops(keeper, 5.0) == []
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)]), update(1, 102, 102, [(99, 6)])], 5.0)
    assert [row["last_update_id"] for row in write_tops(keeper, 5.0)] == [102]
    keeper.take_updates(HOME, [update(2, 103, 103, [(99, 7)])], 5.05)
    assert write_tops(keeper, 5.05) == []
    assert [row["last_update_id"] for row in write_tops(keeper, 5.11)] == [103]
    keeper.take_updates(HOME, [update(3, 104, 104, [(50, 1)])], 6.0)  # deeper than what is shown
    assert write_tops(keeper, 6.0) == []


def test_a_top_that_had_no_room_is_offered_again(keeper: BookKeeper) -> None:
    assert len(list(keeper.tops(1.0))) == 1
    assert [row["last_update_id"] for row in write_tops(keeper, 1.0)] == [100]


def test_who_takes_over_says_nothing_that_was_said_and_never_goes_back(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 1.0)
    [said] = write_tops(keeper, 1.0)
    new = BookKeeper(CODEC, RULES, 2, 0.1)
    new.open(HOME, PARTITIONS, 0, 0, (0, 0))
    new.take_snapshot(snapshot(100), 0.0)
    new.recall_top(KEY, recalled_top(said), said["last_update_id"], said["engine_time"])
    new.on_tick(1.0)
    assert write_tops(new, 1.0) == []  # still at 100
    new.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 2.0)
    assert write_tops(new, 2.0) == []  # said already
    new.take_updates(HOME, [update(1, 102, 102, [(99, 6)])], 3.0)
    assert [row["last_update_id"] for row in write_tops(new, 3.0)] == [102]


def test_the_top_of_a_market_that_is_closed_says_so_until_it_is_open_and_seeded(keeper: BookKeeper) -> None:
    def listed(row: bytes | None, at_ms: int) -> Record:
        return Record("reference.market", 0, 0, KEY, row, at_ms)

    write_tops(keeper, 0.0)
    keeper.take_market(listed(None, 1_000))
    [row] = write_tops(keeper, 10.0)
    assert (row["status"], row["status_since"]) == ("CLOSED", 1_000_000)
    assert row["reason"].startswith("delisted")
    assert len(row["bids"]) == 2, "the last state before"
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 11.0)
    assert due(keeper, 1_000.0) == [], "a book that is not LIVE is not checkpointed"
    keeper.look_for_unusable(12.0)
    assert keeper.unusable_seconds(1_000.0) == 0.0, "nobody is to be called for it"
    assert keeper.by_status()["CLOSED"] == 1
    reopened = 1_000_000  # long after the update that the book holds
    texts = {"source": "REST", "base_symbol": "BTC", "quote_symbol": "USDC", "market_type": "PERP", "raw": "{}"}
    row = {"symbol": SYMBOL, "received_time": reopened * 1000, "order_book_state": "Open", **texts}
    keeper.take_market(listed(CODEC.encoder("Market", "t")(row), reopened))
    [row] = write_tops(keeper, 20.0)
    assert row["status"] == "STALE"
    keeper.take_snapshot(snapshot(reopened + 1), 21.0)
    [row] = write_tops(keeper, 30.0)
    assert row["status"] == "LIVE"


def test_a_market_known_as_closed_before_its_book_is_closed(keeper: BookKeeper) -> None:
    keeper.take_market(Record("reference.market", 0, 0, OTHER.encode(), None, 1_000))
    assert OTHER not in keeper.books
    keeper.open(partition_of(OTHER.encode(), PARTITIONS), PARTITIONS, 0, 0, (0, 0))
    keeper.take_snapshot(snapshot(5, symbol=OTHER)._replace(key=OTHER.encode()), 0.0)
    keeper.on_tick(0.0)
    assert keeper.books[OTHER].status is Status.CLOSED


@pytest.mark.parametrize(("key", "value"), [(KEY, b"nonsense"), (None, None)])
def test_a_foreign_record_in_the_market_list_says_nothing(
    keeper: BookKeeper, key: bytes | None, value: bytes | None
) -> None:
    keeper.take_market(Record("reference.market", 0, 0, key, value, 1_000))
    assert keeper.undecodable_records == 1
    assert only_book(keeper).market.status is Status.LIVE


def test_partitions_that_go_take_their_books_along(keeper: BookKeeper) -> None:
    keeper.take_updates(HOME, [update(0, 101, 101, [(99, 5)])], 1.0)
    keeper.close([HOME])
    assert (keeper.books, keeper.partitions, due(keeper, 99.0), write_tops(keeper, 99.0)) == ({}, frozenset(), [], [])
    keeper.take_updates(HOME, [update(1, 102, 102, [(99, 5)])], 1.0)
    assert keeper.books == {}


def test_a_foreign_record_makes_no_market_and_breaks_only_the_book_it_is_of(keeper: BookKeeper) -> None:
    stranger = next(f"X{n}" for n in range(1000) if partition_of(f"X{n}".encode(), PARTITIONS) == HOME).encode()
    keeper.take_updates(HOME, [Record("market.depth", HOME, 0, stranger, b"foreign")], 1.0)
    assert list(keeper.books) == [SYMBOL]
    assert keeper.books[SYMBOL].status is Status.LIVE
    keeper.take_updates(HOME, [Record("market.depth", HOME, 1, KEY, b"foreign")], 1.0)
    assert keeper.books[SYMBOL].status is Status.STALE
    assert keeper.undecodable_records == 2


def test_a_snapshot_whose_updates_may_be_gone_is_not_believed() -> None:
    keeper = BookKeeper(CODEC, RULES, 2, 0.1)
    keeper.open(HOME, PARTITIONS, 50, 50, (0, 0))  # Kafka's retention has removed what lay before
    keeper.take_snapshot(snapshot(100, offset=10), 0.0)
    keeper.on_tick(0.0)
    assert keeper.books[SYMBOL].status is Status.SYNCING
    keeper.take_snapshot(snapshot(120, offset=55), 1.0)
    assert keeper.books[SYMBOL].status is Status.LIVE


changes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(80, 99), st.integers(0, 3)), max_size=4),
        st.lists(st.tuples(st.integers(101, 120), st.integers(0, 3)), max_size=4),
    ),
    min_size=1,
    max_size=30,
)


@given(changes, st.booleans(), st.data())
def test_a_checkpoint_holds_what_lies_before_its_offset_as_far_as_the_book_knows(
    steps: list[tuple[Levels, Levels]], is_whole: bool, data: st.DataObject
) -> None:
    """Against dicts: every level within coverage, none beyond, at whatever moment it is taken."""
    keeper = BookKeeper(CODEC, RULES, 2, 0.1)
    keeper.open(HOME, PARTITIONS, 0, 0, (0, 0))
    keeper.take_snapshot(snapshot(100, bids_complete=is_whole, asks_complete=is_whole), 0.0)
    keeper.on_tick(0.0)
    sides: tuple[dict[int, int], dict[int, int]] = ({99: 1, 98: 2}, {101: 1, 102: 2})
    until = data.draw(st.integers(1, len(steps)))
    for number, step in enumerate(steps[:until]):
        keeper.take_updates(HOME, [update(number, 101 + number, 101 + number, *step)], 1.0)
        for side, pairs in zip(sides, step, strict=True):
            side.update(pairs)
    kept = only_book(keeper)
    if kept.market.status is not Status.LIVE:
        assert not is_whole
        assert due(keeper, 1_000.0) == []
        return
    [(last_id, offset)] = due(keeper, 1_000.0)
    assert (last_id, offset) == (100 + until, until)
    row = checkpoint_row(kept, PLACE, offset, 0)
    CODEC.encoder("BookSnapshot", "t")(row)
    bids, asks = ({p: q for p, q in side.items() if q} for side in sides)
    if not is_whole:
        bids, asks = {p: q for p, q in bids.items() if p >= 98}, {p: q for p, q in asks.items() if p <= 102}
    assert _plain(row["bids"]) == sorted(bids.items(), reverse=True)
    assert _plain(row["asks"]) == sorted(asks.items())
    assert row["bids_complete"] is row["asks_complete"] is is_whole
    assert row["seed_update_id"] == 100


def _plain(side: list[dict[str, bytes]]) -> list[tuple[int, int]]:
    def number(data: bytes) -> int:
        return int(Decimal(int.from_bytes(data, "big", signed=True)) / ONE)

    return [(number(level["price"]), number(level["quantity"])) for level in side]


def _keys() -> Iterator[bytes]:
    return (f"M{n}_USDC".encode() for n in range(500))


@pytest.mark.parametrize(("updates", "snapshots"), [(8, 4), (4, 8), (8, 8), (6, 4), (5, 3), (1, 4), (8, 1)])
@pytest.mark.parametrize("number", [0, 2])
def test_the_snapshots_of_a_partitions_markets_are_where_they_are_looked_for(
    updates: int, snapshots: int, number: int
) -> None:
    number %= updates
    places = [("snapshots", each) for each in range(snapshots)]
    looked_for = {place[1] for place in _beside(places, frozenset({number}), updates)}
    holding = {partition_of(key, snapshots) for key in _keys() if partition_of(key, updates) == number}
    assert holding == looked_for
