"""No single odd answer removes a market: absence is confirmed, old copies close nothing, mass disappearances are refused."""

from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.markets.known_markets import (
    ABSENT_ANSWERS,
    ABSENT_SECONDS,
    MASS_SECONDS,
    OLDEST_FRESH_SECONDS,
    KnownMarkets,
    ListAnswer,
    ListNews,
    symbol_in,
    symbol_problem,
)
from backpack_streams.markets.selection import CLOSED, ListedMarket

KINDS = {"A": "SPOT", "B": "SPOT", "C": "PERP"}


def market(symbol: str, state: str = "Open", kind: str | None = None) -> ListedMarket:
    return ListedMarket(symbol, kind or KINDS.get(symbol, "SPOT"), state)


class Asking:
    """A list that is requested repeatedly."""

    def __init__(self) -> None:
        self.known = KnownMarkets()

    def answer(
        self,
        at: float,
        *symbols: str,
        closed: str = "",
        unreadable: tuple[str | None, ...] = (),
        age: int | None = 0,
        kinds: frozenset[str] | None = None,
    ) -> dict[ListNews, tuple[str, ...]]:
        rows = [market(symbol, CLOSED if symbol in closed.split() else "Open") for symbol in symbols]
        events = self.known.take(ListAnswer(rows, unreadable, age, at, kinds))
        return {event.news: event.symbols for event in events}

    @property
    def states(self) -> dict[str, str]:
        return {each.symbol: each.state for each in self.known.markets}


def test_closed_closes_at_once_and_open_reopens() -> None:
    asking = Asking()
    assert asking.answer(0, "A", "B") == {ListNews.ADDED: ("A", "B")}
    assert asking.answer(60, "A", "B", closed="A") == {ListNews.CLOSED: ("A",)}
    assert asking.states == {"A": CLOSED, "B": "Open"}
    assert asking.answer(120, "A", "B") == {ListNews.REOPENED: ("A",)}
    assert asking.states == {"A": "Open", "B": "Open"}


def test_an_unknown_state_is_open() -> None:
    known = KnownMarkets()
    for at, state in enumerate(("Open", "CancelOnly", "closed", "Halted", "")):
        known.take(ListAnswer([market("A", state)], (), None, at * 60.0))
        assert [each.state for each in known.markets] == [state]


def test_absence_is_confirmed_by_three_fresh_answers_over_three_minutes() -> None:
    asking = Asking()
    asking.answer(0, "A", "B")
    for at in (60, 120, 180, 235):
        assert asking.answer(at, "A") == {}
        assert asking.states.keys() == {"A", "B"}
    assert asking.known.missing == 1
    assert asking.answer(240, "A") == {ListNews.GONE: ("B",)}
    assert asking.states.keys() == {"A"}
    assert asking.known.missing == 0


def test_two_answers_are_not_enough_however_far_apart() -> None:
    asking = Asking()
    asking.answer(0, "A", "B")
    asking.answer(60, "A")
    asking.answer(6_000, "A")
    assert asking.states.keys() == {"A", "B"}
    assert asking.answer(6_060, "A") == {ListNews.GONE: ("B",)}


def test_one_odd_copy_that_a_cache_serves_for_minutes_counts_once() -> None:
    asking = Asking()
    asking.answer(0, "A", "B")
    for age in range(0, OLDEST_FRESH_SECONDS + 1, 20):
        asking.answer(60 + age, "A", age=age)
        assert asking.states.keys() == {"A", "B"}
    assert asking.answer(400, "A", "B") == {}


def test_two_odd_copies_are_two_answers_however_often_they_are_served() -> None:
    asking = Asking()
    asking.answer(0, "A", "B")
    for made_at in (60, 300):
        for age in (0, 60, 120, 180):
            asking.answer(made_at + age + 0.9, "A", age=age)
    assert asking.states.keys() == {"A", "B"}


def test_a_market_that_returns_restarts_its_count() -> None:
    asking = Asking()
    asking.answer(0, "A", "B")
    for at in (60, 120, 180):
        asking.answer(at, "A")
    asking.answer(240, "A", "B")
    for at in (300, 360, 420, 475):
        asking.answer(at, "A")
        assert asking.states.keys() == {"A", "B"}
    assert asking.answer(480, "A") == {ListNews.GONE: ("B",)}


def test_an_answer_older_than_the_previous_one_changes_nothing() -> None:
    asking = Asking()
    asking.answer(600, "A", "B", closed="A", age=0)
    assert asking.answer(660, "A", "C", closed="C", age=100) == {ListNews.IGNORED_OLDER: ()}
    assert asking.states == {"A": CLOSED, "B": "Open"}
    assert asking.answer(720, "A", "C", age=100) == {ListNews.REOPENED: ("A",), ListNews.ADDED: ("C",)}


def test_a_closed_market_is_not_reopened_by_an_answer_of_the_same_moment() -> None:
    """The age counts whole seconds, so it is unknown which of two copies is newer."""
    asking = Asking()
    asking.answer(0, "A")
    asking.answer(100, "A", closed="A")
    assert asking.answer(101.5, "A") == {}
    assert asking.states == {"A": CLOSED}
    assert asking.answer(102.5, "A") == {ListNews.REOPENED: ("A",)}


def test_an_old_copy_adds_markets_but_closes_and_removes_none() -> None:
    asking = Asking()
    asking.answer(0, "A", "B")
    for round_number in range(20):
        asking.answer(1_000 + 60 * round_number, "A", "C", closed="A", age=OLDEST_FRESH_SECONDS + 1)
        assert asking.states == {"A": "Open", "B": "Open", "C": "Open"}
    assert asking.answer(3_000, "A", "B", "C", closed="A") == {ListNews.CLOSED: ("A",)}


def test_the_first_answer_counts_however_old_but_not_if_it_is_empty() -> None:
    asking = Asking()
    assert asking.answer(0) == {ListNews.IGNORED_EMPTY: ()}
    assert asking.answer(1, unreadable=(None, "A")) == {ListNews.IGNORED_EMPTY: ()}
    assert not asking.known.is_listed
    asking.answer(2, "A", "B", closed="B", age=900)
    assert asking.known.is_listed
    assert asking.states == {"A": "Open", "B": CLOSED}


def test_an_unreadable_row_is_no_absence() -> None:
    asking = Asking()
    asking.answer(0, "A", "B", "C")
    for at in range(60, 900, 60):
        asking.answer(at, "A", unreadable=("B",))
    assert asking.states.keys() == {"A", "B"}, "C was lacking"
    asking.answer(960, "A", "B", "C")
    for at in range(1_000, 2_000, 60):
        asking.answer(at, "A", "B", unreadable=(None,))
    assert asking.states.keys() == {"A", "B", "C"}, "the row may have been anybody's"


def test_an_answer_about_some_kinds_does_not_affect_the_others() -> None:
    asking = Asking()
    asking.answer(0, "A", "B", "C")
    for at in range(60, 900, 60):
        asking.answer(at, "A", kinds=frozenset({"SPOT"}))
    assert asking.states.keys() == {"A", "C"}


def test_copies_of_kinds_have_separate_ages() -> None:
    asking = Asking()
    asking.answer(1_000, "A", "B", kinds=frozenset({"SPOT"}))
    assert asking.answer(1_001, "C", age=200, kinds=frozenset({"PERP"})) == {ListNews.ADDED: ("C",)}
    assert asking.answer(1_002, "A", "B", "C", age=100) == {ListNews.IGNORED_OLDER: ()}


@pytest.mark.parametrize("left", [(), ("M00",), tuple(f"M{n:02}" for n in range(16))])
def test_a_mass_disappearance_is_refused_until_it_has_lasted_for_long(left: tuple[str, ...]) -> None:
    asking = Asking()
    everything = [f"M{n:02}" for n in range(20)]
    asking.answer(0, *everything)
    refused: list[str] = []
    for at in range(60, 60 + int(MASS_SECONDS), 60):
        events = asking.answer(at, *left)
        refused += events.get(ListNews.MASS_REFUSED, ())
        assert (ListNews.IGNORED_EMPTY in events) == (not left)
        assert asking.states.keys() == set(everything)
    assert refused == everything[len(left) :], "each is reported once"
    assert asking.known.missing == len(refused)
    gone = asking.answer(60 + int(MASS_SECONDS), *left)[ListNews.GONE]
    assert sorted(gone) == everything[len(left) :]


def test_a_few_may_disappear_together() -> None:
    asking = Asking()
    everything = [f"M{n:02}" for n in range(20)]
    asking.answer(0, *everything)
    events = [asking.answer(at, *everything[3:]) for at in (60, 120, 240)]
    assert events == [{}, {}, {ListNews.GONE: ("M00", "M01", "M02")}]


def test_the_rest_of_a_mass_disappearance_is_not_removed_sooner() -> None:
    asking = Asking()
    everything = [f"M{n:02}" for n in range(20)]
    asking.answer(0, *everything)
    asking.answer(60)
    for at in range(120, 1_800, 60):
        asking.answer(at, *everything[2:])
    assert len(asking.states) == 20


def test_recalled_markets_are_confirmed_like_any_other() -> None:
    asking = Asking()
    asking.known.recall(market("A"), -100.0)
    asking.known.recall(market("B"), -100.0)
    asking.known.recall(market("C"), -100.0)
    asking.known.forget("C", -50.0)
    asking.known.forget("D", -50.0)
    assert asking.answer(0) == {ListNews.IGNORED_EMPTY: ()}
    assert not asking.known.is_listed
    for at in (10, 100, 185):
        asking.answer(at, "A")
        assert asking.states.keys() == {"A", "B"}
    assert asking.answer(190, "A") == {ListNews.GONE: ("B",)}


def test_answers_older_than_recalled_markets_do_not_affect_them() -> None:
    asking = Asking()
    asking.known.recall(ListedMarket("A", "PERP", CLOSED), -100.0)
    asking.known.recall(market("B"), -100.0)
    asking.known.forget("C", -100.0)
    assert asking.answer(0, "A", "C", "D", age=200) == {ListNews.ADDED: ("D",)}
    assert asking.states == {"A": CLOSED, "B": "Open", "D": "Open"}
    assert asking.known.missing == 0, "B was listed later than that"
    assert asking.answer(1, "A", "B", "C", "D", age=90) == {ListNews.ADDED: ("C",), ListNews.REOPENED: ("A",)}


@pytest.mark.parametrize(
    "symbol", ["", " ", "A B", "A\tB", "\x00", "\ud83d", "\u00a0", "\u202eA", "A" * 101, "200ms.X", "1m.X"]
)
def test_a_symbol_that_cannot_name_a_stream_is_a_bad_row(symbol: str) -> None:
    assert symbol_problem(symbol) is not None
    asking = Asking()
    events = asking.answer(0, "A", "B", symbol)
    assert asking.states.keys() == {"A", "B"}
    (shown,) = events[ListNews.BAD_SYMBOL]
    assert shown.isascii()
    for at in range(60, 600, 60):
        asking.answer(at, "A", symbol)
    assert asking.states.keys() == {"A", "B"}, "the row may be B's"


@pytest.mark.parametrize("symbol", ["A", "SOL_USDC", "AAPL.US_USDC_PERP", "1m", "É_USDC", "A" * 100])
def test_a_symbol_that_can_name_a_stream_is_accepted(symbol: str) -> None:
    assert symbol_problem(symbol) is None


def test_the_symbol_of_an_unreadable_row() -> None:
    assert symbol_in(b'{"symbol":"A","orderBookState":null}') == "A"
    for raw in (
        b"{}",
        b'{"symbol":1}',
        b'{"symbol":""}',
        b'{"symbol":"A B"}',
        b"[]",
        b"nonsense",
        b'{"symbol":"\\ud83d"}',
    ):
        assert symbol_in(raw) is None


# ---- any sequence of answers


@dataclass(frozen=True)
class Step:
    wait: int
    age: int
    states: dict[str, str | None]
    """By symbol: its state; None for an unreadable row. Not in it: absent."""
    has_nameless: bool


SYMBOLS = "ABCDE"
steps = st.builds(
    Step,
    st.sampled_from([1, 30, 60, 100, 400]),
    st.sampled_from([0, 0, 0, 50, 250, 301, 900]),
    st.lists(st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(["Open", "Open", "Open", CLOSED, None]))).map(dict),
    st.sampled_from([False, False, False, True]),
)


@given(st.lists(steps, max_size=40))
def test_no_open_market_is_dropped_without_proof(taken: list[Step]) -> None:
    known = KnownMarkets()
    now, newest = 0.0, float("-inf")
    lacking: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}
    for step in taken:
        now += step.wait
        made_at = now - step.age
        rows = [market(symbol, state) for symbol, state in step.states.items() if state is not None]
        unreadable = [symbol for symbol, state in step.states.items() if state is None]
        before = {each.symbol for each in known.markets if each.state != CLOSED}
        known.take(ListAnswer(rows, [*unreadable, *[None] * step.has_nameless], step.age, now))
        after = {each.symbol for each in known.markets if each.state != CLOSED}
        is_older, is_fresh = made_at < newest - 2, step.age <= OLDEST_FRESH_SECONDS
        if is_older:
            assert after == before
            continue
        newest = max(newest, made_at) if rows or known.is_listed else newest
        for symbol in SYMBOLS:
            if step.states.get(symbol) is not None:
                lacking[symbol] = []
            elif is_fresh and not step.has_nameless and symbol not in step.states:
                times = lacking[symbol]
                lacking[symbol] = times if times and made_at <= times[-1] + 2 else [*times, made_at]
        for symbol in before - after:
            times = lacking[symbol]
            says_closed = is_fresh and step.states.get(symbol) == CLOSED
            is_confirmed = len(times) >= ABSENT_ANSWERS and times[-1] - times[0] >= ABSENT_SECONDS
            assert says_closed or is_confirmed
        gone = [symbol for symbol in before - after if step.states.get(symbol) != CLOSED]
        by_kind = [sum(market(symbol).market_type == kind for symbol in gone) for kind in ("SPOT", "PERP")]
        if max(by_kind) > 3:
            assert all(lacking[symbol][-1] - lacking[symbol][0] >= MASS_SECONDS for symbol in gone)
        assert {row.symbol for row in rows if row.state != CLOSED} - after <= {
            row.symbol for row in rows if row.symbol not in before
        }, "what an answer has open is dropped by none of them"


@given(st.lists(st.floats(0, 60), max_size=50))
def test_answers_of_one_moment_count_once(waits: list[float]) -> None:
    """However often it is requested, an unchanged copy confirms nothing."""
    asking = Asking()
    asking.answer(0, "A", "B")
    for passed in accumulate(waits):
        asking.answer(60 + passed, "A", age=int(passed))
    assert asking.states.keys() == {"A", "B"}
