"""Forged updates, and late ones of a sequence that ended: a live book is correct, and a stale one recovers by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.adoption import FUTURE_SECONDS, REST_OLD_SECONDS
from backpack_streams.books.market_book import BaseSnapshot, MarketBook, Outcome, Status

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
U = 10**18
LEVELS = ([(U, U)], [(2 * U, U)])
FAR = START + 10**15
"""In 31 years."""
ANSWERS_EVERY = int(REST_OLD_SECONDS) + 10


class Exchange:
    """One book and the exchange's clock."""

    def __init__(self, last_id: int = 100) -> None:
        self.now = START
        self.reader_is_off = 0
        self.market = MarketBook("SOL_USDC", wall_us=lambda: self.now + self.reader_is_off)
        self.last_id = last_id
        assert self.answer() is Outcome.RESYNCED
        self.update()

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    def update(self, *, is_lost: bool = False) -> Outcome | None:
        self.last_id += 1
        return None if is_lost else self.market.on_update(self.last_id, self.last_id, self.now, [(U, self.last_id)], [])

    def answer(self, age: float = 0.0, last_id: int | None = None) -> Outcome:
        """A snapshot that was current this many seconds ago."""
        last_id, received = self.last_id if last_id is None else last_id, self.now - int(age * SECOND)
        return self.market.on_snapshot(last_id, received, *LEVELS, base=BaseSnapshot(last_id, received, received))

    def forge(self, number: int, at: int) -> Outcome:
        return self.market.on_update(number, number, at, [], [])

    def is_right(self) -> bool:
        assert (self.market.status, self.market.last_update_id) == (Status.LIVE, self.last_id), self.market.reason
        return True


@pytest.mark.parametrize("is_busy", [False, True])
@pytest.mark.parametrize("number", [50, 101, 5_000_000])
def test_one_update_with_an_absurd_time_costs_a_few_answers_and_not_two_hundred(is_busy: bool, number: int) -> None:
    exchange = Exchange()
    exchange.pass_(1)
    assert exchange.forge(number, FAR) is Outcome.BROKE
    assert exchange.market.status is Status.STALE
    for _ in range(3):
        for _ in range(5 if is_busy else 0):
            exchange.pass_(1)
            exchange.update()
        exchange.pass_(ANSWERS_EVERY)
        exchange.answer()
    assert exchange.is_right()
    exchange.update()
    assert exchange.is_right()


def test_an_absurd_time_on_an_update_that_follows_by_its_id_costs_nothing() -> None:
    exchange = Exchange()
    assert exchange.forge(exchange.last_id + 1, FAR) is Outcome.APPLIED
    exchange.last_id += 1
    exchange.pass_(1)
    exchange.update()
    assert exchange.is_right()


@pytest.mark.parametrize("off_seconds", [-7200, 7200])
def test_a_wrong_reader_clock_neither_forgets_an_update_nor_keeps_a_book_stale(off_seconds: int) -> None:
    exchange = Exchange()
    exchange.reader_is_off = off_seconds * SECOND
    exchange.update(is_lost=True)
    exchange.update()
    assert exchange.market.status is Status.STALE
    behind = exchange.last_id - 2
    for _ in range(5):
        exchange.pass_(ANSWERS_EVERY)
        assert exchange.answer(last_id=behind) is Outcome.REFUSED  # however often it is repeated
    assert exchange.answer() is Outcome.RESYNCED
    assert exchange.is_right()


def test_a_reader_that_was_away_does_not_take_a_real_restart_for_a_forged_one() -> None:
    """It reads the updates first, then answers from before the restart that are far enough apart, all of them old."""
    exchange = Exchange()
    before = exchange.last_id
    exchange.pass_(600)
    assert exchange.forge(1, exchange.now) is Outcome.BROKE
    exchange.pass_(3600)
    for age in (4100, 3900, 3700):
        assert exchange.answer(age, last_id=before) is Outcome.REFUSED
    assert exchange.answer(0, last_id=1) is Outcome.RESYNCED


def test_a_snapshot_must_include_updates_that_were_taken_for_late_ones() -> None:
    exchange = Exchange()
    exchange.forge(50, FAR)
    exchange.pass_(1)
    exchange.answer()
    exchange.pass_(ANSWERS_EVERY)
    assert exchange.update() is Outcome.DUPLICATE
    assert exchange.answer(last_id=exchange.last_id - 1) is Outcome.REFUSED
    assert exchange.market.reason.endswith(f"behind update {exchange.last_id}")
    exchange.pass_(1)
    assert exchange.answer() is Outcome.RESYNCED


ACTS = st.lists(
    st.tuples(st.sampled_from(["move", "move", "lose", "forge", "answer", "old answer"]), st.integers(0, 300)),
    max_size=40,
)


@given(acts=ACTS, off_seconds=st.sampled_from([0, 0, -7200, 7200]))
def test_whatever_is_forged_a_live_book_is_correct_and_a_stale_one_recovers(
    acts: list[tuple[str, int]], off_seconds: int
) -> None:
    """Updates are read as they are sent; only future timestamps are forged."""
    exchange = Exchange()
    exchange.reader_is_off = off_seconds * SECOND
    read = exchange.last_id
    for what, number in acts:
        exchange.pass_(number / 10)
        if what == "move":
            exchange.update()
            read = exchange.last_id
        elif what == "lose":
            exchange.update(is_lost=True)
        elif what == "forge":
            at = exchange.now + int((FUTURE_SECONDS + 7201 + number + max(0, off_seconds)) * SECOND)
            exchange.market.on_update(number, number, at, [(U, 7)], []) if number <= read else None
        else:
            exchange.answer(15.0 if what == "old answer" else 0.0, exchange.last_id if what == "answer" else read)
        if exchange.market.status is Status.LIVE:
            assert read <= (exchange.market.last_update_id or 0) <= exchange.last_id
    exchange.update()  # a loss that no update follows is for the coverage to report
    for _ in range(4):
        exchange.pass_(ANSWERS_EVERY)
        exchange.answer()
    assert exchange.is_right()


def test_each_absurd_time_needs_two_answers() -> None:
    exchange = Exchange()
    for _ in range(3):
        exchange.pass_(1000)
        exchange.update()
        exchange.forge(50, FAR)
        exchange.pass_(ANSWERS_EVERY)
        assert exchange.answer() is Outcome.REFUSED
        exchange.pass_(ANSWERS_EVERY)
        assert exchange.answer() is Outcome.RESYNCED
        assert exchange.is_right()


def test_answers_in_quick_succession_postpone_nothing() -> None:
    exchange = Exchange()
    exchange.forge(5_000_000, FAR)
    for _ in range(int(REST_OLD_SECONDS) + 1):
        exchange.update()
        exchange.pass_(1)
        exchange.answer()
    assert exchange.is_right()


def test_an_answer_with_an_absurd_time_starts_no_sequence() -> None:
    exchange = Exchange(last_id=1000)
    exchange.update(is_lost=True)
    exchange.update()
    exchange.pass_(1)
    base = BaseSnapshot(3, FAR, exchange.now)
    assert exchange.market.on_snapshot(3, FAR, *LEVELS, base=base) is Outcome.REFUSED
    assert exchange.market.status is Status.STALE
    assert exchange.answer() is Outcome.RESYNCED
    exchange.update()
    assert exchange.is_right()


def test_an_absurd_time_does_not_erase_an_earlier_restart() -> None:
    exchange = rolled_back(has_waited=False)
    exchange.forge(5_000_000, FAR)
    for _ in range(3):
        exchange.pass_(ANSWERS_EVERY)
        exchange.answer()
    assert exchange.is_right()
    late = exchange.last_id + 1
    assert exchange.market.on_update(late, late, START + 1, [(U, 666 * U)], []) is Outcome.DUPLICATE


# A sequence that was rolled back a little ------------------------------------------------------------------------


def rolled_back(*, has_waited: bool) -> Exchange:
    """The exchange returns after ten minutes, 50 ids below its last one."""
    exchange = Exchange(last_id=1000)
    for _ in range(2):
        exchange.update()
    exchange.pass_(600)
    exchange.last_id = 950
    assert exchange.update() is Outcome.BROKE
    assert exchange.answer(last_id=950 if has_waited else 951) is Outcome.RESYNCED
    return exchange


@pytest.mark.parametrize("has_waited", [False, True])
def test_a_late_update_of_the_old_sequence_is_not_applied_even_if_its_id_follows(has_waited: bool) -> None:
    exchange = rolled_back(has_waited=has_waited)
    while exchange.last_id < 1000:
        exchange.update()
    assert exchange.is_right()
    before = exchange.market.book.best_bid()
    late = exchange.market.on_update(1001, 1001, START + 1, [(U, 666 * U)], [])
    assert late is Outcome.DUPLICATE
    assert exchange.is_right()
    assert exchange.market.book.best_bid() == before
    assert exchange.update() is Outcome.APPLIED
    assert exchange.is_right()


def test_late_updates_of_the_old_sequence_are_not_buffered() -> None:
    exchange = rolled_back(has_waited=False)
    exchange.update(is_lost=True)
    exchange.update()
    assert exchange.market.status is Status.STALE
    waiting = exchange.market.buffered_updates
    for number in (952, 1001, 1002):
        assert exchange.market.on_update(number, number, START + 1, [], []) is Outcome.DUPLICATE
    assert exchange.market.buffered_updates == waiting
    assert exchange.answer() is Outcome.RESYNCED
    assert exchange.is_right()
