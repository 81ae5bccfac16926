"""When a checkpoint of a book is due, and what the checkpoint holds."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.records import checkpoint_record
from backpack_streams.books.market_book import Status
from backpack_streams.books.standing import Claim
from backpack_streams.bus.partitioner import partition_of
from unit.book_builder.fed_keeper import (
    CODEC,
    HOME,
    KEY,
    ONE,
    PARTITIONS,
    RULES,
    SYMBOL,
    TOPIC_PARTITION,
    Levels,
    Record,
    due,
    new_keeper,
    only_book,
    snapshot,
    take,
    update,
    write_tops,
)


def test_an_unchanged_book_is_not_checkpointed(keeper: BookKeeper) -> None:
    assert due(keeper, 1_000.0) == []


def test_a_changed_book_is_checkpointed_after_the_interval(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    assert due(keeper, 14.9) == []
    assert due(keeper, 15.0) == [(101, 1)]


def test_many_updates_do_not_wait_for_the_interval(keeper: BookKeeper) -> None:
    take(keeper, 10.0, *(update(n, 101 + n, 101 + n, [(99, n + 1)]) for n in range(9)))
    assert due(keeper, 10.0) == []
    take(keeper, 10.0, update(9, 110, 110, [(99, 3)]))
    assert due(keeper, 10.0) == [(110, 10)]


def test_a_written_checkpoint_is_not_written_again(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_snapshot(101, offset)
    assert due(keeper, 1_000.0) == []
    take(keeper, 15.1, snapshot(101, offset=1, origin="CHECKPOINT"))  # it is read back from Kafka
    assert due(keeper, 1_000.0) == []


def test_a_checkpoint_that_did_not_fit_the_queue_is_due_again(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    assert due(keeper, 15.0) == due(keeper, 15.1) == [(101, 1)]


def test_a_checkpoint_that_kafka_rejected_is_due_again_soon_and_then_less_and_less_often(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    now = 15.0
    waited = []
    for _ in range(200):
        [(kept, offset)] = keeper.checkpoints(now)
        kept.on_checkpoint(101, offset, Claim(101, frozenset()), now)
        assert due(keeper, now) == []
        keeper.on_checkpoint_rejected(SYMBOL, now)
        assert keeper.checkpoint_delay(now) == now - 10.0, "the change has been waiting all the time"
        assert kept.again_at is not None
        assert due(keeper, kept.again_at - 1e-6) == []
        waited.append(kept.again_at - now)
        now = kept.again_at
    assert max(waited[:1]) <= 1.0
    assert max(waited[:3]) <= 4.0
    assert 30.0 < max(waited) <= 60.0
    [(kept, offset)] = keeper.checkpoints(now)
    kept.on_checkpoint(101, offset, Claim(101, frozenset()), now)
    assert due(keeper, now + 1_000.0) == []
    take(keeper, now + 1_000.0, update(1, 102, 102, [(99, 6)]))
    [(kept, offset)] = keeper.checkpoints(now + 1_010.0)
    kept.on_checkpoint(102, offset, Claim(102, frozenset()), now + 1_010.0)
    keeper.on_checkpoint_rejected(SYMBOL, now + 1_010.0)  # the first in a row
    assert due(keeper, now + 1_011.0) == [(102, 2)]


def test_a_checkpoint_that_kafka_rejected_is_written_when_the_builder_stops(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_checkpoint(101, offset, Claim(101, frozenset()), 15.0)
    assert list(keeper.last_checkpoints([HOME])) == []
    keeper.on_checkpoint_rejected(SYMBOL, 15.0)
    assert list(keeper.last_checkpoints([HOME])) == [(kept, 1)]


def test_the_checkpoint_of_a_quiet_book_is_renewed_before_readers_have_to_go_far_back(keeper: BookKeeper) -> None:
    other = next(
        name
        for n in range(1000)
        if partition_of((name := f"M{n}").encode(), PARTITIONS) == HOME and name != SYMBOL
    ).encode()  # fmt: skip
    take(keeper, 10.0, *(update(n, n + 1, n + 1, key=other) for n in range(99)))
    assert due(keeper, 10.0) == []
    take(keeper, 10.0, update(99, 100, 100, key=other))
    assert due(keeper, 10.0) == [(100, 100)]


def test_a_snapshot_ahead_of_the_updates_is_not_replaced_by_a_checkpoint(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    take(keeper, 11.0, snapshot(200))
    assert due(keeper, 1_000.0) == []


def test_a_snapshot_behind_the_book_is_followed_by_a_checkpoint(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_snapshot(101, offset)
    take(keeper, 16.0, snapshot(100))
    assert due(keeper, 20.9) == []
    assert due(keeper, 21.0) == [(101, 1)]


def test_a_broken_book_is_not_checkpointed_and_only_a_snapshot_of_the_exchange_restores_it(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    take(keeper, 10.0, update(1, 105, 105, [(99, 6)]))
    take(keeper, 10.5)  # the missing updates did not arrive
    assert keeper.intake.books[SYMBOL].status is Status.STALE
    assert due(keeper, 1_000.0) == []
    take(keeper, 11.0, snapshot(105, origin="CHECKPOINT"))
    assert keeper.intake.books[SYMBOL].status is Status.STALE
    take(keeper, 12.0, snapshot(105))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE


def test_a_checkpoint_never_omits_an_update_that_arrived_early(keeper: BookKeeper) -> None:
    twice = [update(offset, 101, 101, [(99, 5)]) for offset in (0, 1)]  # so two producers publish it
    take(keeper, 10.0, *twice, update(2, 103, 103, [(99, 7)]))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    assert due(keeper, 1_000.0) == []
    assert list(keeper.last_checkpoints([HOME])) == []
    take(keeper, 10.1, update(3, 102, 102, [(99, 6)]))
    assert due(keeper, 1_000.0) == [(103, 4)]


def test_an_update_that_only_one_producer_can_publish_is_not_waited_for(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]), update(1, 103, 103, [(99, 7)]))
    assert [row["status"] for row in write_tops(keeper, 10.0)] == ["STALE"]
    take(keeper, 10.1, update(2, 102, 102, [(99, 6)]))
    assert [row["status"] for row in write_tops(keeper, 11.0)] == ["LIVE"]
    assert due(keeper, 1_000.0) == [(103, 3)]


changes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(80, 99), st.integers(0, 3)), max_size=4),
        st.lists(st.tuples(st.integers(101, 120), st.integers(0, 3)), max_size=4),
    ),
    min_size=1,
    max_size=30,
)


@given(changes, st.booleans(), st.data())
def test_a_checkpoint_holds_everything_before_its_offset_within_the_books_coverage(
    steps: list[tuple[Levels, Levels]], is_whole: bool, data: st.DataObject
) -> None:
    """Against dicts: every level within coverage and none beyond, at any moment."""
    keeper = new_keeper(0, 0, (0, 0))
    take(keeper, 0.0, snapshot(100, bids_complete=is_whole, asks_complete=is_whole))
    take(keeper, 0.0)
    sides: tuple[dict[int, int], dict[int, int]] = ({99: 1, 98: 2}, {101: 1, 102: 2})
    until = data.draw(st.integers(1, len(steps)))
    for number, step in enumerate(steps[:until]):
        take(keeper, 1.0, update(number, 101 + number, 101 + number, *step))
        for side, pairs in zip(sides, step, strict=True):
            side.update(pairs)
    kept = only_book(keeper)
    if kept.market.status is not Status.LIVE:
        assert not is_whole
        assert due(keeper, 1_000.0) == []
        return
    [(last_id, offset)] = due(keeper, 1_000.0)
    assert (last_id, offset) == (100 + until, until)
    row = checkpoint_record(kept, TOPIC_PARTITION, offset, 0)
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


def test_a_checkpoint_lets_readers_skip_an_unreadable_record(keeper: BookKeeper) -> None:
    """While its market is quiet, snapshots of the exchange name an offset before that record."""
    foreign = Record("backpack.market.depth", HOME, 1, KEY, None)
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]), foreign)
    assert only_book(keeper).market.status is Status.STALE
    assert due(keeper, 1_000.0) == [], "not of a book that is not LIVE"
    take(keeper, 1_001.0, update(2, 102, 102, [(99, 6)]))
    assert only_book(keeper).market.status is Status.LIVE
    [(kept, offset)] = keeper.checkpoints(1_001.0)
    assert offset == 3
    kept.on_checkpoint(102, offset, Claim(102, frozenset(), None, offset), 1_001.0)
    assert due(keeper, 2_000.0) == []
    take(keeper, 2_001.0, snapshot(102, offset=0))
    assert due(keeper, 2_001.0) == [(102, 3)]
    kept.on_checkpoint(102, 3, Claim(102, frozenset(), None, 3), 2_001.0)
    take(keeper, 3_001.0, snapshot(102, offset=3))
    assert due(keeper, 4_000.0) == []


def test_what_broke_a_book_before_its_partition_was_recreated_needs_no_more_checkpoints(keeper: BookKeeper) -> None:
    kept = only_book(keeper)
    kept.is_doubted = True
    kept.on_position(50_000)
    assert kept.wants_checkpoint(1_000.0, 50_000, RULES)
    kept.on_snapshot(100, 5)
    kept.on_position(6)
    assert not kept.wants_checkpoint(1_000.0, 6, RULES)
