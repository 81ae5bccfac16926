"""A start holds frames until it is known what Kafka has; without that knowledge nothing is published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.feed.moments import Break
from backpack_streams.feed.start import FRAME_OVERHEAD_BYTES, Start, StartError


def break_of(stream: str) -> Break:
    return Break(stream, "DISCONNECTED", "no socket was up", 1, 2, 3)


class Taken:
    """The output of a start, in order."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def frame(self, socket: int, payload: bytes, received_us: int) -> None:
        self.all.append(f"{socket} {payload.decode()} {received_us}")

    def gap(self, gap: Break) -> None:
        self.all.append(gap.stream)


def finish(start: Start, *first: str) -> list[str]:
    taken = Taken()
    start.finish([break_of(name) for name in first], taken.frame, taken.gap)
    return taken.all


def test_frames_and_breaks_come_out_in_order_after_the_breaks_derived_from_kafka() -> None:
    start = Start(0.0)
    start.frame(1, b"a", 10, 0.0)
    start.broke([break_of("B"), break_of("C")])
    start.frame(2, b"d", 20, 0.0)
    assert not start.is_over
    assert finish(start, "X", "Y") == ["X", "Y", "1 a 10", "B", "C", "2 d 20"]
    assert (start.is_over, start.held_bytes) == (True, 0)


def test_the_start_is_over_before_anything_comes_out() -> None:
    start, seen = Start(0.0), list[bool]()
    start.frame(1, b"a", 10, 0.0)
    start.finish([break_of("X")], lambda *_: seen.append(start.is_over), lambda _: seen.append(start.is_over))
    assert seen == [True, True]


def test_a_start_that_fails_while_it_releases_what_it_held_is_not_over() -> None:
    start, taken = Start(0.0), Taken()

    def fails(gap: Break) -> None:
        raise KeyError(gap.stream)

    start.broke([break_of("B")])
    start.frame(1, b"a", 10, 0.0)
    with pytest.raises(KeyError):
        start.finish([], taken.frame, fails)
    assert (start.is_over, taken.all) == (False, [])


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 5_000))
def test_the_start_is_full_at_its_limit_in_bytes(sizes: list[int], limit: int) -> None:
    start, held = Start(0.0, limit_bytes=limit), 0
    for size in sizes:
        assert start.is_full is (held >= limit)
        start.frame(0, b"x" * size, 1, 0.0)
        held += size + FRAME_OVERHEAD_BYTES
    assert start.held_bytes == held


def test_many_small_frames_fill_it_too() -> None:
    start = Start(0.0, limit_bytes=1_000_000)
    for _ in range(1_000_000 // FRAME_OVERHEAD_BYTES + 1):
        start.frame(0, b"", 1, 0.0)
    assert start.is_full


def test_it_retries_until_its_patience_ends_and_then_publishes_nothing() -> None:
    start = Start(100.0, patience_seconds=60.0)
    start.frame(1, b"a", 10, 0.0)
    start.broke([break_of("B")])
    start.failed("no leader", 130.0)
    start.failed("no leader yet", 159.9)
    assert (start.problem, start.is_over) == ("no leader yet", False)
    with pytest.raises(StartError, match=r"60 s \(timed out\); nothing was published"):
        start.failed("timed out", 160.0)
    assert issubclass(StartError, BackpackStreamsError)
    assert not start.is_over, "frames that come on are held, never published"
    assert start.held_bytes == 0
    assert finish(start) == []


def test_frames_held_by_an_abandoned_start_are_never_published() -> None:
    start = Start(0.0)
    start.frame(1, b"a", 10, 0.0)
    start.abandon()
    assert (start.is_over, start.held_bytes, finish(start)) == (False, 0, [])
