"""The tails of topics are read whole or not at all, and can then be followed."""

from typing import cast

import pytest

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.topic_end import TopicEndNotReachedError
from backpack_streams.feed import tails
from backpack_streams.feed.tails import RECORDS_A_PARTITION, TailReader
from unit.bus.scripted_reader import ScriptedReader, keep_time
from unit.feed.recorded_queues import CODEC
from unit.feed.test_tails import depth_value

TOPIC_PARTITION = ("t", 0)
CONNECTION = cast(KafkaConnection, None)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> ScriptedReader:
    reader = ScriptedReader(
        {TOPIC_PARTITION: [(offset, depth_value(offset, offset)) for offset in range(8)]}, {TOPIC_PARTITION: 8}
    )
    monkeypatch.setattr(tails, "Reader", lambda *_: reader)
    keep_time(reader, monkeypatch)
    return reader


async def test_a_tail_is_read_and_followed(reader: ScriptedReader) -> None:
    async with TailReader(CONNECTION, CODEC, ["t"]) as tail:
        assert tail.found["t", "X"].last_id == 7
        polls = len(reader.polls)
        await tail.read_on()
        assert len(reader.polls) == polls, "nothing came"
        reader.logs[TOPIC_PARTITION].append((9, depth_value(9, 9)))
        reader.log_ends[TOPIC_PARTITION] = 10
        await tail.read_on()
        assert tail.found["t", "X"].last_id == 9


async def test_a_tail_that_cannot_be_read_raises(reader: ScriptedReader) -> None:
    reader.away = {TOPIC_PARTITION}
    with pytest.raises(TopicEndNotReachedError):
        async with TailReader(CONNECTION, CODEC, ["t"]):
            pytest.fail("nothing is known of what was published last")


async def test_the_records_read_per_partition_are_bounded(reader: ScriptedReader) -> None:
    end = RECORDS_A_PARTITION + 5
    reader.log_ends[TOPIC_PARTITION] = end
    async with TailReader(CONNECTION, CODEC, ["t"]) as tail:
        assert tail.found["t", "X"].last_id == 7
    reader.log_ends[TOPIC_PARTITION] = end + 3
    async with TailReader(CONNECTION, CODEC, ["t"]) as tail:
        assert tail.found == {}
