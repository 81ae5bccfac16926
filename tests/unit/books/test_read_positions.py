"""How far a reader has read, and which partitions went back."""

from typing import Any

from aiokafka import TopicPartition

from backpack_streams.books.read_positions import ReadPositions
from vouched_plant import DEPTH, GAP, Clock, Plant


def test_partitions_that_went_back_without_a_record_are_told_once() -> None:
    positions, at = ReadPositions(), {DEPTH: 0, GAP: 7}
    positions.offsets = {DEPTH: 5, GAP: 7}
    assert positions.note({}, at.get) == [(DEPTH, 0)]
    assert positions.note({}, at.get) == []
    assert positions.offsets == {DEPTH: 0, GAP: 7}


def test_a_partition_with_a_record_or_without_a_known_position_did_not_go_back() -> None:
    positions = ReadPositions()
    positions.offsets = {DEPTH: 5, GAP: 7}
    records: Any = {TopicPartition(*DEPTH): [Plant(Clock()).update()]}
    assert positions.note(records, {DEPTH: 1}.get) == []
    assert positions.offsets == {DEPTH: 1, GAP: 7}
