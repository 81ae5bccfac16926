"""Topics are recalled whole or not at all: if a leader moves meanwhile, no gap is forgotten."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import TopicEndNotReachedError
from backpack_streams.errors import BusError
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.rest_poller import followed_topic, recall
from backpack_streams.rest_poller.followed_topic import FollowedTopic
from backpack_streams.rest_poller.recall import recall_history, recall_references
from backpack_streams.rest_poller.refiller import Refiller
from unit.bus.scripted_reader import ScriptedReader, keep_time
from unit.rest_poller.polled_answers import CODEC

GAPS = ("t.ops.gap", 0)
GAP = reports.gap_row(
    stream="trade.BTC_USDC_PERP", symbol="BTC_USDC_PERP", topic="market.trade", reason="SEQUENCE_BREAK", detail="",
    service="s", detected_us=1, last_id=10, next_id=20,
)  # fmt: skip
STATUS = reports.status_row(stream="s", symbol="S", status="OK", detail="", service="s", changed_us=1)


def read_by(reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    for module in (recall, followed_topic):
        monkeypatch.setattr(module, "Reader", lambda *_: reader)
    keep_time(reader, monkeypatch)
    publishing: Any = SimpleNamespace(connection=None, codec=CODEC, prefix="t.", encoder=lambda _: None, reporter=None)
    return cast(Publishing, publishing)


async def test_a_gap_is_on_the_work_list_even_if_the_leader_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ScriptedReader({GAPS: [(0, CODEC.encoder("Gap", "t.ops.gap")(GAP))]}, {GAPS: 1})
    publishing = read_by(reader, monkeypatch)
    work = Refiller(publishing, cast(Any, None), lambda _: True, lambda _: None)
    gaps = FollowedTopic(publishing, "ops.gap")
    reader.away = {GAPS}
    with pytest.raises(TopicEndNotReachedError):
        await gaps.recall(cast(Reader, reader), 10, lambda gap, _: work.take(gap, is_new=False))
    assert gaps.offsets == {}, "it is recalled again"
    reader.away.clear()
    await gaps.recall(cast(Reader, reader), 10, lambda gap, _: work.take(gap, is_new=False))
    assert work.open_spans()["trade"] == 1
    assert gaps.offsets == {GAPS: 1}


async def test_a_followed_topic_resumes_after_the_last_record_it_passed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gap, other = CODEC.encoder("Gap", "t.ops.gap")(GAP), CODEC.encoder("StreamStatus", "t.ops.stream_status")(STATUS)
    reader = ScriptedReader({GAPS: [(0, gap), (1, gap)]}, {GAPS: 2})
    publishing = read_by(reader, monkeypatch)
    taken: list[int] = []
    gaps = FollowedTopic(publishing, "ops.gap")
    await gaps.recall(cast(Reader, reader), 1, lambda _, offset: taken.append(offset))

    def fails(_: ScriptedReader) -> None:
        raise BusError("the broker is away")

    for more in ([(2, gap), (3, b"foreign")], [(4, other), (5, gap)]):
        reader.logs[GAPS] += more
        reader.log_ends[GAPS] += 2
        reader.script = [lambda _: None, fails]
        with pytest.raises(BusError, match="away"):
            await gaps.follow(lambda _, offset: taken.append(offset))
    assert taken == [1, 2, 5]
    assert [vars(each)["offset"] for each in caplog.records if "cannot be read" in each.message] == [3, 4]


async def test_references_and_histories_are_recalled_whole_or_not_at_all_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ScriptedReader({GAPS: [(0, b"")]}, {GAPS: 1})
    publishing = read_by(reader, monkeypatch)
    reader.away = {GAPS}
    with pytest.raises(TopicEndNotReachedError):
        await recall_references(publishing, {"ops.gap": lambda *_: ""})
    with pytest.raises(TopicEndNotReachedError):
        await recall_history(publishing, "ops.gap", lambda *_: "", None)


async def test_unreadable_records_are_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gap = CODEC.encoder("Gap", "t.ops.gap")(GAP)
    reader = ScriptedReader({GAPS: [(0, b"foreign"), (3, gap)]}, {GAPS: 9})
    publishing = read_by(reader, monkeypatch)
    found: list[str] = []

    def learn(key: str, *_: object) -> str:
        found.append(key)
        return ""

    await recall_references(publishing, {"ops.gap": learn})
    assert found == ["k"]
    assert [vars(each)["offset"] for each in caplog.records if "cannot be read" in each.message] == [0]


async def test_records_of_another_kind_are_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gap, other = CODEC.encoder("Gap", "t.ops.gap")(GAP), CODEC.encoder("StreamStatus", "t.ops.stream_status")(STATUS)
    publishing = read_by(ScriptedReader({GAPS: [(0, other), (1, gap), (2, other)]}, {GAPS: 3}), monkeypatch)
    found: list[Any] = []

    def learn(key: str, record: dict[str, Any] | None, _: int) -> str:
        found.append(record)
        return key

    await recall_references(publishing, {"ops.gap": learn})
    await recall_history(publishing, "ops.gap", learn, {"another"})
    assert [each["stream"] for each in found] == [GAP["stream"]] * 2
    skipped = [vars(each) for each in caplog.records if "cannot be read" in each.message]
    assert [each["offset"] for each in skipped] == [0, 2] * 2
    assert "is a StreamStatus, not a Gap" in skipped[0]["error"]
