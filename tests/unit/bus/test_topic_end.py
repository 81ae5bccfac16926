"""A topic is read to its end or an error says that it was not: missing offsets, moving leaders, stopped processes."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from aiokafka.errors import LeaderNotAvailableError, TopicAuthorizationFailedError
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import BYTES_A_POLL, EndWatch, PollSize, TopicEndNotReachedError, read_to_end
from backpack_streams.bus.topic_ids import TopicRecreatedError
from backpack_streams.errors import BusError
from backpack_streams.topic_partition import TopicPartition
from unit.bus.scripted_reader import ScriptedReader, keep_time, record

A, B = ("topic", 0), ("topic", 1)
explain = KafkaConnection("nowhere:1").explain


def log(*offsets: int) -> list[tuple[int, bytes]]:
    return [(offset, b"%d" % offset) for offset in offsets]


async def read(
    reader: ScriptedReader, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int], patience: float = 30
) -> dict[TopicPartition, list[int]]:
    taken: dict[TopicPartition, list[int]] = {}

    def take(topic_partition: TopicPartition, records: Sequence[Any]) -> None:
        taken.setdefault(topic_partition, []).extend(each.offset for each in records)

    with pytest.MonkeyPatch.context() as monkeypatch:
        keep_time(reader, monkeypatch)
        await read_to_end(cast(Reader, reader), starts, ends, take, patience_seconds=patience)
    return taken


def raises(error: Exception) -> Callable[[ScriptedReader], None]:
    def turn(_: ScriptedReader) -> None:
        explained = explain(error)
        raise explained from error

    return turn


async def test_every_record_before_the_ends_is_taken_once() -> None:
    reader = ScriptedReader({A: log(*range(3_000)), B: log(*range(10, 20))}, {A: 3_000, B: 20})
    taken = await read(reader, {A: 5, B: 12}, {A: 2_900, B: 18})
    assert taken == {A: list(range(5, 2_900)), B: list(range(12, 18))}


async def test_an_empty_range_polls_nothing() -> None:
    reader = ScriptedReader({A: log(), B: log(1, 2)}, {A: 0, B: 3})
    assert await read(reader, {A: 0, B: 3}, {A: 0, B: 3}) == {}
    assert await read(reader, {}, {}) == {}
    assert reader.polls == []


async def test_offsets_without_records_at_the_end_are_passed() -> None:
    """Compaction, retention and transaction marks leave none."""
    reader = ScriptedReader({A: log(1, 4, 5), B: log()}, {A: 9, B: 7})
    assert await read(reader, {A: 0, B: 3}, {A: 9, B: 7}) == {A: [1, 4, 5]}


async def test_without_a_leader_reading_fails_instead_of_returning_a_part() -> None:
    reader = ScriptedReader({A: log(1, 2), B: log(1, 2, 3)}, {A: 3, B: 4})
    reader.away = {B}
    with pytest.raises(
        TopicEndNotReachedError, match=r"partition 1 of topic topic was read to offset 1 instead of 4"
    ) as told:
        await read(reader, {A: 0, B: 1}, {A: 3, B: 4}, patience=30)
    assert (told.value.topic_partition, told.value.reached, told.value.end) == (B, 1, 4)
    assert isinstance(told.value, BusError)
    assert reader.now == pytest.approx(31, abs=1)


async def test_a_leader_that_moves_within_the_patience_costs_nothing() -> None:
    reader = ScriptedReader({A: log(1, 2, 3)}, {A: 4})
    reader.away = {A}
    reader.script = [lambda _: None] * 25 + [lambda each: each.away.clear()]
    assert await read(reader, {A: 0}, {A: 4}) == {A: [1, 2, 3]}


async def test_progress_renews_the_patience() -> None:
    logs = log(*range(100))
    reader = ScriptedReader({A: logs[:1]}, {A: 1})

    def grow(each: ScriptedReader) -> None:
        if int(each.now) % 20 == 0:
            each.log_ends[A] += 1
            each.logs[A] = logs[: each.log_ends[A]]

    reader.script = [grow] * 400
    assert await read(reader, {A: 0}, {A: 10}) == {A: list(range(10))}
    assert reader.now > 150


async def test_a_transient_error_is_retried_from_the_same_position() -> None:
    reader = ScriptedReader({A: log(*range(2_000))}, {A: 2_000})

    def skips_and_fails(each: ScriptedReader) -> None:
        each.positions[A] += 7
        raises(LeaderNotAvailableError())(each)

    reader.script = [raises(LeaderNotAvailableError()), lambda _: None, skips_and_fails, raises(OSError("cut"))]
    assert await read(reader, {A: 0}, {A: 2_000}) == {A: list(range(2_000))}


async def test_a_lasting_error_is_named() -> None:
    reader = ScriptedReader({A: log(1)}, {A: 2})
    reader.script = [raises(LeaderNotAvailableError())] * 100
    with pytest.raises(TopicEndNotReachedError, match="LeaderNotAvailable"):
        await read(reader, {A: 0}, {A: 2})


async def test_a_permanent_refusal_is_raised_at_once() -> None:
    reader = ScriptedReader({A: log(1)}, {A: 2})
    reader.script = [raises(TopicAuthorizationFailedError("topic"))]
    with pytest.raises(BusError, match="refused"):
        await read(reader, {A: 0}, {A: 2})
    assert len(reader.polls) == 1


async def test_a_partition_whose_beginning_is_unknown_delays_no_other() -> None:
    reader = ScriptedReader({A: log(1, 2), B: log(1, 2)}, {A: 3, B: 3})
    reader.resetting = {A}
    with pytest.raises(TopicEndNotReachedError) as told:
        await read(reader, {A: 0, B: 0}, {A: 3, B: 3})
    assert told.value.topic_partition == A
    reader.now, reader.script = 0, [lambda _: None] * 10 + [lambda each: each.resetting.clear()]
    assert await read(reader, {A: 0, B: 0}, {A: 3, B: 3}) == {A: [1, 2], B: [1, 2]}


async def test_a_recreated_topic_is_not_taken_for_the_old_one() -> None:
    """The consumer is reset to the beginning, so it never reaches the old end, and offsets repeat."""
    reader = ScriptedReader({A: log(*range(100))}, {A: 1_000})

    def made_anew(each: ScriptedReader) -> None:
        each.logs[A], each.log_ends[A], each.positions[A] = log(0, 1, 2), 3, 0

    reader.script = [lambda each: setattr(each, "away", {A}), made_anew]
    with pytest.raises(TopicRecreatedError):
        await read(reader, {A: 50}, {A: 1_000})


def test_time_without_a_look_does_not_count_as_patience() -> None:
    """A process that was stopped for a minute has not waited for a minute."""
    watch = EndWatch({A: 0}, {A: 9}, 30, now=0)
    watch.look(1)
    watch.look(1_000)
    for now in range(1_001, 1_027):
        watch.look(now)
    with pytest.raises(TopicEndNotReachedError):
        watch.look(1_028)


def test_the_size_of_polls_follows_the_size_of_records() -> None:
    size = PollSize()
    first = size.records
    size.saw({})
    assert size.records == first
    size.saw({A: [record(A, 0, bytes(1_000_000))]})  # type: ignore[dict-item]  # any key does
    assert size.records == BYTES_A_POLL // 1_000_001
    size.saw({A: [record(A, 0, bytes(2 * BYTES_A_POLL))]})  # type: ignore[dict-item]
    assert size.records == 1
    size.saw({A: [record(A, 0, b"")]})  # type: ignore[dict-item]
    assert size.records == 10_000


@given(
    st.lists(st.integers(0, 60), unique=True).map(sorted),
    st.integers(0, 60),
    st.integers(0, 60),
    st.lists(st.sampled_from(["fine", "away", "back", "fails", "trimmed"]), max_size=20),
)
async def test_either_everything_is_read_or_an_error_says_that_it_was_not(
    offsets: list[int], start: int, end: int, events: list[str]
) -> None:
    reader = ScriptedReader({A: log(*offsets)}, {A: 61})
    trimmed_to = 0

    def turn(event: str) -> Callable[[ScriptedReader], None]:
        def act(each: ScriptedReader) -> None:
            nonlocal trimmed_to
            if event in ("away", "back"):
                each.away = {A} if event == "away" else set()
            elif event == "fails":
                raises(LeaderNotAvailableError())(each)
            elif event == "trimmed":
                trimmed_to += 10
                each.logs[A] = [entry for entry in each.logs[A] if entry[0] >= trimmed_to]

        return act

    reader.script = [turn(event) for event in events]
    try:
        taken = (await read(reader, {A: start}, {A: end})).get(A, [])
    except TopicEndNotReachedError:
        assert reader.away
        return
    wanted = [offset for offset in offsets if start <= offset < end]
    assert taken == sorted(set(taken))
    assert set(taken) <= set(wanted)
    assert all(offset < trimmed_to for offset in set(wanted) - set(taken)), "only what retention removed is missing"
