"""The offset of a moment is found by the timestamps of records, even if some of them are nonsense."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus.offset_search import offsets_at

PLACE = ("t", 0)
ABSURD = 10**15


class FakeLog:
    """One partition in memory; `stamps` by offset (compaction leaves some out), with Kafka's search by time."""

    def __init__(self, stamps: Mapping[int, int]) -> None:
        self.stamps = dict(sorted(stamps.items()))
        self.end = max(stamps, default=-1) + 1
        self.position = 0
        self.read = 0

    async def offset_at(self, _: tuple[str, int], moment_ms: int) -> int | None:
        return next((offset for offset, stamp in self.stamps.items() if stamp >= moment_ms), None)

    def assign(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.position = offsets.get(PLACE, 0)

    def reached(self, _: tuple[str, int]) -> int:
        return self.position

    @contextmanager
    def searching(self) -> Iterator[None]:
        yield

    async def poll(self, _: int, most: int = 10, only: Sequence[Any] = ()) -> Mapping[TopicPartition, list[Any]]:
        del only
        some = [offset for offset in self.stamps if offset >= self.position][: min(most, 100)]
        self.position = some[-1] + 1 if some else self.end
        self.read += len(some)
        records = [ConsumerRecord(*PLACE, each, self.stamps[each], 0, b"A", b"", None, 0, 0, ()) for each in some]
        return {TopicPartition(*PLACE): records} if records else {}


def found(log: FakeLog, moment_ms: int) -> int:
    return asyncio.run(offsets_at(log, {PLACE: moment_ms}, {PLACE: log.end}))[PLACE]  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.integers(-3, 900))
@settings(max_examples=100)
def test_with_clocks_that_go_forward_the_first_record_from_the_moment_on_is_found(
    steps: list[int], moment_ms: int
) -> None:
    stamps, now = {}, 0
    for offset, step in enumerate(steps):
        now += step
        stamps[offset] = now
    expected = next((offset for offset, stamp in stamps.items() if stamp >= max(0, moment_ms)), len(steps))
    assert found(FakeLog(stamps), moment_ms) == expected


@given(st.integers(100, 3_000), st.integers(0, 3_000), st.lists(st.integers(0, 10**6), max_size=5), st.integers(1, 50))
@settings(max_examples=100)
def test_absurd_records_hide_nothing(count: int, moment: int, absurd: list[int], spacing: int) -> None:
    """One record per millisecond, `spacing` offsets apart; a few from another century, never two within one look."""
    stamps = {offset * spacing: offset for offset in range(count)}
    before = [each % count for each in absurd]
    places = [each for i, each in enumerate(before) if all(abs(each - other) > 40 for other in before[:i])]
    for each in places:
        stamps[each * spacing] = ABSURD
    log = FakeLog(stamps)
    offset = found(log, moment)
    true = min(moment * spacing, log.end)
    # An absurd record at the border may be counted to either side.
    assert abs(sum(min(offset, true) <= each < max(offset, true) for each in stamps)) <= 1
    assert log.read < 100 * 40


def test_a_border_between_days_of_compacted_records_is_found() -> None:
    stamps = {0: ABSURD} | {offset: offset for offset in (5, 90_000, 200_000, 200_001)}
    stamps |= {200_002 + offset: 200_002 + offset for offset in range(20)}
    assert found(FakeLog(stamps), 100_000) in {90_001, 200_000}
    assert found(FakeLog({}), 5) == 0
