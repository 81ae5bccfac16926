"""Which snapshots may replace a book; a single REST answer never replaces an intact book."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.adoption import REST_OLD_SECONDS, Adoption, Epoch
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.snapshot import BaseSnapshot, Snapshot
from backpack_streams.sequencing.restart import Position

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
LEVELS = ([(9, 1)], [(11, 1)])


def snapshot(last_id: int, *, at: int | None = START, received: int | None = START) -> Snapshot:
    return Snapshot(last_id, at, *LEVELS, True, True, BaseSnapshot(last_id, at, received))


def whole(last_id: int = 5000) -> MarketBook:
    market = MarketBook("SOL_USDC")
    give(market, snapshot(last_id - 1))
    assert market.on_update(last_id, last_id, START, [], []) is Outcome.APPLIED
    return market


def give(market: MarketBook, given: Snapshot) -> Outcome:
    return market.on_snapshot(given.last_update_id, given.engine_time, given.bids, given.asks, base=given.base)


def restarted(last_id: int, seconds: float) -> Snapshot:
    """An answer of the exchange, received this much later, from a sequence that restarted at far lower ids."""
    time = START + int(seconds * SECOND)
    return snapshot(last_id, at=time, received=time)


def test_an_intact_book_is_replaced_by_the_second_answer_that_agrees_and_not_by_the_first() -> None:
    market = whole()
    assert give(market, restarted(3, 60)) is Outcome.IGNORED
    assert (market.status, market.last_update_id) == (Status.LIVE, 5000)
    assert give(market, restarted(4, 60 + REST_OLD_SECONDS)) is Outcome.RESYNCED
    assert (market.status, market.last_update_id) == (Status.LIVE, 4)


@pytest.mark.parametrize(
    "second",
    [
        restarted(3, 60),  # the same record again
        restarted(4, 60 + REST_OLD_SECONDS - 0.001),
        restarted(2, 60 + REST_OLD_SECONDS),  # behind the first: one of the two is old
        restarted(3, 59),
        snapshot(4, at=START + 90 * SECOND, received=None),
    ],
)
def test_an_answer_that_disagrees_or_may_be_equally_old_does_not_replace_the_book(second: Snapshot) -> None:
    market = whole()
    give(market, restarted(3, 60))
    assert give(market, second) is Outcome.IGNORED
    assert (market.status, market.last_update_id) == (Status.LIVE, 5000)


def test_the_wait_counts_from_the_first_answer() -> None:
    """A poller that asks every 5 s does not keep postponing the replacement."""
    market = whole()
    outcomes = [give(market, restarted(3, 60 + 5 * number)) for number in range(5)]
    assert outcomes == [Outcome.IGNORED] * 4 + [Outcome.RESYNCED]


def test_a_checkpoint_based_on_the_first_answer_does_not_count_as_the_second() -> None:
    market = whole()
    first = restarted(3, 60)
    give(market, first)
    later = START + 120 * SECOND
    assert market.on_snapshot(9, later, *LEVELS, base=first.base) is Outcome.IGNORED
    assert market.on_snapshot(9, later, *LEVELS, base=restarted(4, 80).base) is Outcome.RESYNCED


def test_an_update_that_continues_the_sequence_discards_the_first_answer() -> None:
    market = whole()
    give(market, restarted(3, 60))
    market.on_update(5001, 5001, START + 61 * SECOND, [], [])
    assert give(market, restarted(4, 90)) is Outcome.IGNORED
    assert give(market, restarted(4, 110)) is Outcome.RESYNCED  # two that agree, while no update arrives


def test_an_answer_that_fits_the_sequence_discards_an_older_one() -> None:
    market = whole()
    give(market, restarted(3, 60))
    give(market, snapshot(5000, received=START + 70 * SECOND))
    assert give(market, restarted(3, 90)) is Outcome.IGNORED
    market = whole()
    give(market, restarted(3, 60))
    give(market, snapshot(5000, received=START + 50 * SECOND))  # requested earlier: it does not cover later changes
    assert give(market, restarted(3, 90)) is Outcome.RESYNCED


def test_an_answer_that_reloads_the_book_also_discards_an_older_one() -> None:
    market = whole()
    give(market, restarted(3, 60))
    market.on_outage_over("coverage broke")
    assert give(market, snapshot(5000, received=START + 70 * SECOND)) is Outcome.RESYNCED
    assert give(market, restarted(3, 90)) is Outcome.IGNORED


def test_without_receive_times_the_engine_times_of_answers_count() -> None:
    market = whole()
    for seconds, outcome in ((60, Outcome.IGNORED), (79, Outcome.IGNORED), (80, Outcome.RESYNCED)):
        assert give(market, snapshot(3, at=START + seconds * SECOND, received=None)) is outcome


def test_answers_ahead_of_a_book_that_stands_still_replace_it_if_no_watermark_vouches() -> None:
    market = whole()
    assert give(market, snapshot(6000)) is Outcome.PENDING
    assert give(market, snapshot(6001, received=START + 19 * SECOND)) is Outcome.PENDING
    assert give(market, snapshot(6001, received=START + 20 * SECOND)) is Outcome.RESYNCED
    assert (market.status, market.last_update_id, market.breaks) == (Status.LIVE, 6001, 1)
    for last_id in range(6002, 6010):  # updates keep arriving, although late
        assert give(market, snapshot(last_id + 1, received=START + last_id * 30 * SECOND)) is Outcome.PENDING
        market.on_update(last_id, last_id, START, [], [])
    assert market.last_update_id == 6009


def test_answers_ahead_do_not_replace_a_book_that_a_watermark_vouches_for() -> None:
    market = MarketBook("SOL_USDC")
    market.standing.vouch(START, 10.0**12)
    give(market, snapshot(10))
    for number in range(5):
        assert give(market, snapshot(20, received=START + number * 30 * SECOND)) is Outcome.PENDING
    market.standing.refuse("no producer vouches")
    assert give(market, snapshot(20, received=START + 300 * SECOND)) is Outcome.PENDING
    assert give(market, snapshot(20, received=START + 330 * SECOND)) is Outcome.RESYNCED


@pytest.mark.parametrize("how", ["not whole", "not vouched for", "no book yet"])
def test_one_answer_is_enough_for_a_book_that_nothing_vouches_for(how: str) -> None:
    market = whole()
    if how == "not whole":
        market.on_update(5005, 5005, START, [], [])
    elif how == "not vouched for":
        market.standing.refuse("no producer publishes watermarks")
    else:
        market = MarketBook("SOL_USDC")
        market.on_update(5000, 5000, START, [], [])
    assert give(market, restarted(3, 60)) is Outcome.RESYNCED
    assert market.last_update_id == 3


def test_an_update_of_the_new_sequence_proves_it_at_once() -> None:
    market = whole()
    give(market, restarted(3, 60))
    assert market.on_update(4, 4, START + 61 * SECOND, [], []) is Outcome.BROKE
    assert give(market, restarted(3, 62)) is Outcome.RESYNCED
    assert market.last_update_id == 4


ANSWERS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 90)), max_size=12)


@given(answers=ANSWERS)
def test_an_answer_replaces_an_intact_book_only_after_an_older_one_that_agrees(answers: list[tuple[int, int]]) -> None:
    market, before = whole(), list[tuple[int, int]]()
    for last_id, seconds in answers:
        if give(market, restarted(last_id, 60 + seconds)) is Outcome.RESYNCED:
            assert any(old_id <= last_id and old + REST_OLD_SECONDS <= seconds for old_id, old in before)
            return
        assert (market.status, market.last_update_id) == (Status.LIVE, 5000)
        before.append((last_id, seconds))


@given(ids=st.lists(st.integers(0, 4), min_size=2, max_size=6), pause=st.integers(20, 600))
def test_spaced_answers_of_one_sequence_replace_the_book_with_the_second(ids: list[int], pause: int) -> None:
    market, last_id = whole(), 1
    outcomes = []
    for number, more in enumerate(ids):
        last_id += more
        outcomes.append(give(market, restarted(last_id, 60 + number * pause)))
    assert outcomes[:2] == [Outcome.IGNORED, Outcome.RESYNCED]


# The parts of the decision --------------------------------------------------------------------------------------


NEWEST = Position(100, START, SECOND)


def refused(adoption: Adoption, given: Snapshot, dropped_to: int = 0) -> str | None:
    return adoption.refusal(given, NEWEST, dropped_to)


def test_a_snapshot_must_include_what_is_known_to_be_missing() -> None:
    adoption = Adoption()
    assert refused(adoption, snapshot(50)) is None
    adoption.demand(51)
    assert refused(adoption, snapshot(50)) == "snapshot 50 behind update 51"
    assert refused(adoption, snapshot(51), dropped_to=60) == "snapshot 51 behind update 60"
    adoption.begin_epoch(Epoch(START, is_from_snapshot=False))
    assert refused(adoption, snapshot(50)) is None
    assert refused(adoption, snapshot(50, at=START - 1)) == "snapshot 50 is of the sequence that ended"


def test_an_outage_of_the_socket_outlasts_a_sequence() -> None:
    adoption = Adoption()
    adoption.on_cut_off()
    adoption.begin_epoch(None)
    assert "no socket" in (refused(adoption, snapshot(50)) or "")
    adoption.on_connected()
    assert refused(adoption, snapshot(50)) is None


def test_of_snapshots_ahead_the_furthest_is_kept_and_is_taken_once() -> None:
    adoption = Adoption()
    kept = [adoption.keep(snapshot(last_id)) for last_id in (9, 7, 12)]
    assert (kept, adoption.pending_id) == ([True, False, True], 12)
    assert adoption.take_pending() == snapshot(12)
    assert (adoption.take_pending(), adoption.pending_id) == (None, None)
    adoption.keep(snapshot(12))
    adoption.drop_pending(up_to=11)
    assert adoption.pending_id == 12
    adoption.drop_pending(up_to=12)
    assert adoption.pending_id is None


def test_a_sequence_known_from_a_snapshot_may_have_begun_earlier_than_its_time() -> None:
    assert Epoch(START, is_from_snapshot=False).earliest == START
    assert Epoch(START, is_from_snapshot=True).earliest == START - 10 * SECOND


KNOWN = st.lists(st.sampled_from(["cut off", "connected", "wrong", "beyond", "demand", "epoch", "none"]), max_size=6)


@given(known=KNOWN, last_id=st.integers(0, 200), seconds=st.integers(-30, 30))
def test_a_snapshot_past_everything_known_is_never_refused(known: list[str], last_id: int, seconds: int) -> None:
    """A refused snapshot stays refused until something new is known: asking changes nothing."""
    adoption = Adoption()
    for what in known:
        if what == "cut off":
            adoption.on_cut_off()
        elif what == "connected":
            adoption.on_connected()
        elif what == "wrong":
            adoption.on_wrong(Position(last_id, START, SECOND))
        elif what == "beyond":
            adoption.on_ahead(START + seconds * SECOND, last_id)
        elif what == "demand":
            adoption.demand(last_id)
        elif what == "epoch":
            adoption.begin_epoch(Epoch(START + seconds * SECOND, is_from_snapshot=seconds > 0))
    late = START + 60 * SECOND
    given_late = snapshot(300, at=late, received=late)
    assert (refused(adoption, given_late) is None) is ("cut off" not in known[_last(known) :])
    early = snapshot(last_id, at=START, received=START)
    assert refused(adoption, early) == refused(adoption, early)


def _last(known: list[str]) -> int:
    """When the sockets were last known to be up."""
    return max((number for number, what in enumerate(known) if what == "connected"), default=0)
