"""Only news is published: changes and deletions, and each settled row of a history once."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.rest_poller.changes import Dated, History, Reference, settled, told_apart_by

keys = st.sampled_from(["A", "B", "C.D"])
tables = st.dictionaries(keys, st.sampled_from(["1", "2"]))
answers = st.lists(st.tuples(tables, st.integers(0, 5), st.booleans()), max_size=12)


def publish(
    reference: Reference, rows: dict[str, str], as_of_us: int, complete: bool = True, received_us: int = 1_000
) -> tuple[list[str], list[str]]:
    """As the poller does: publish every change; the topic then holds it."""
    changed, gone = reference.changes(rows, as_of_us, received_us, complete)
    for key in changed:
        reference.holds(key, rows[key])
    for key in gone:
        reference.holds(key, None)
    return changed, gone


@given(answers)
def test_the_topic_holds_the_newest_complete_answer(sent: list[tuple[dict[str, str], int, bool]]) -> None:
    reference = Reference()
    topic: dict[str, str] = {}
    newest = 0
    for rows, as_of_us, complete in sent:
        before = dict(topic)
        changed, gone = publish(reference, rows, as_of_us, complete)
        topic |= {key: rows[key] for key in changed}
        for key in gone:
            del topic[key]
        if as_of_us < newest:
            assert topic == before
            continue
        newest = as_of_us
        if complete:
            assert topic == rows
        else:
            assert topic == before | rows
        assert all(before.get(key) != rows[key] for key in changed)
        assert set(gone) <= before.keys() - rows.keys()


@given(tables, st.integers(0, 5))
def test_the_same_answer_again_is_no_news(rows: dict[str, str], later: int) -> None:
    reference = Reference()
    publish(reference, rows, 10)
    assert publish(reference, rows, 10 + later) == ([], [])


@given(tables, tables)
def test_rows_that_the_topic_held_before_the_start_are_no_news(held: dict[str, str], rows: dict[str, str]) -> None:
    reference = Reference()
    for key, raw in held.items():
        reference.holds(key, raw)
    changed, gone = publish(reference, rows, 10)
    assert set(changed) == {key for key in rows if held.get(key) != rows[key]}
    assert gone == sorted(held.keys() - rows.keys())


def test_an_older_answer_is_ignored_even_if_it_differs() -> None:
    reference = Reference()
    publish(reference, {"A": "new"}, 10)
    assert publish(reference, {"A": "old", "B": "old"}, 9) == ([], [])
    assert publish(reference, {"A": "newer"}, 10) == (["A"], [])


def test_an_older_answer_is_ignored_even_after_an_answer_without_news() -> None:
    reference = Reference()
    publish(reference, {"A": "1"}, 10)
    publish(reference, {"A": "1"}, 20)
    assert publish(reference, {"A": "2"}, 15) == ([], [])


@given(answers, answers)
def test_a_restart_makes_no_difference_to_the_topic(
    before: list[tuple[dict[str, str], int, bool]], after: list[tuple[dict[str, str], int, bool]]
) -> None:
    """A poller that recalls the topic acts like the one that published it, as far as the topic shows."""
    stays, topic = Reference(), dict[str, tuple[str | None, int]]()
    for rows, as_of_us, complete in before:
        changed, gone = publish(stays, rows, as_of_us, complete)
        topic |= {key: (rows[key], as_of_us) for key in changed} | dict.fromkeys(gone, (None, as_of_us))
    restarted = Reference()
    for key, (row, as_of_us) in topic.items():
        restarted.recalls(key, row, as_of_us)
    told_at = max((as_of_us for _, as_of_us in topic.values()), default=0)
    held = {key: row for key, (row, _) in topic.items() if row is not None}
    for rows, as_of_us, complete in after:
        changed, gone = publish(restarted, rows, as_of_us, complete)
        assert as_of_us >= told_at or (changed, gone) == ([], []), "an answer older than the topic changes nothing"
        held = {key: row for key, row in (held | {key: rows[key] for key in changed}).items() if key not in gone}
        told_at = max(told_at, as_of_us)
        if as_of_us == told_at and complete and rows:
            assert held == rows


def test_a_fast_clock_delays_nothing_once_it_is_right() -> None:
    reference = Reference()
    publish(reference, {"A": "1"}, 5_000, received_us=5_000)
    assert publish(reference, {"A": "2"}, 999) == ([], []), "a cached one: it may be older"
    assert publish(reference, {"A": "2"}, 1_000) == (["A"], [])


def test_a_delisted_key_is_deleted_once() -> None:
    reference = Reference()
    publish(reference, {"A": "1", "B": "1", "C": "1"}, 10)
    assert publish(reference, {"B": "1"}, 11) == ([], ["A", "C"])
    assert publish(reference, {"B": "1"}, 12) == ([], [])
    assert publish(reference, {"A": "1", "B": "1"}, 13) == (["A"], [])


def test_an_incomplete_answer_deletes_nothing() -> None:
    reference = Reference()
    publish(reference, {"A": "1", "B": "1"}, 10)
    assert publish(reference, {}, 11, complete=False) == ([], [])
    assert publish(reference, {"A": "2"}, 12, complete=False) == (["A"], [])
    assert publish(reference, {"A": "2"}, 13) == ([], ["B"])


def test_rows_that_could_not_be_published_are_news_again() -> None:
    reference = Reference()
    publish(reference, {"A": "1"}, 10)
    for as_of_us in (11, 12):
        assert reference.changes({"B": "1"}, as_of_us, as_of_us, complete=True) == (["B"], ["A"])


def test_a_deletion_that_the_topic_holds_is_remembered() -> None:
    reference = Reference()
    reference.holds("A", "1")
    reference.holds("A", None)
    assert reference.changes({"B": "1"}, 1, received_us=3, complete=True) == (["B"], [])


@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(max_size=3)), st.randoms())
def test_spaces_order_and_moving_fields_are_no_change(row: dict[str, Any], chance: Random) -> None:
    names = list(row)
    chance.shuffle(names)
    other = json.dumps({"moves": chance.random(), **{name: row[name] for name in names}}, indent=chance.randrange(3))
    assert told_apart_by(json.dumps(row), ("moves",)) == told_apart_by(other, ("moves",))
    assert told_apart_by(json.dumps(row)) != told_apart_by(json.dumps({**row, "moves": 1}))


def test_numbers_differ_to_the_last_digit_and_invalid_json_differs_by_its_text() -> None:
    assert told_apart_by('{"a":1.00000000000000000001}') != told_apart_by('{"a":1.00000000000000000002}')
    assert told_apart_by("nonsense") != told_apart_by("other nonsense")


# ---- histories


def dated(time_us: int, is_settled: bool = True, series: str = "X") -> Dated:
    return Dated(series, time_us, is_settled, f"{series} at {time_us}")


def say(history: History, rows: list[Dated], room: int = 100) -> list[Dated]:
    """As the poller does, with a bus that accepts `room` rows."""
    news = history.news(rows)[:room]
    for row in news:
        if row.is_settled:
            history.said(row.series, row.time_us)
    return news


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9)), max_size=8), st.integers(1, 5))
def test_each_settled_row_is_published_once_whatever_the_bus_accepts(steps: list[tuple[int, int]], window: int) -> None:
    history = History()
    told: list[int] = []
    now = 10
    for step, room in steps:
        now += min(step, window)  # no row leaves the window before it was seen
        rows = [dated(now + 1, is_settled=False), *(dated(end) for end in range(now, 0, -1))]
        told += [row.time_us for row in say(history, rows, room) if row.is_settled]
    assert told == list(range(1, len(told) + 1))


def test_series_are_separate_and_rows_are_published_once_oldest_first() -> None:
    history = History()
    rows = [dated(5, series="A"), dated(4, series="A"), dated(4, series="B.C"), dated(4, series="A")]
    assert say(history, rows) == [dated(4, series="A"), dated(4, series="B.C"), dated(5, series="A")]
    assert say(history, [*rows, dated(5, series="B.C")]) == [dated(5, series="B.C")]


def test_a_row_that_settles_is_published_again_and_unpublished_rows_are_news_again() -> None:
    history = History()
    assert say(history, [dated(5, is_settled=False)]) == [dated(5, is_settled=False)]
    assert history.news([dated(5)]) == history.news([dated(5)]) == [dated(5)]
    assert say(history, [dated(5)]) == [dated(5)]
    assert say(history, [dated(5), dated(4)]) == []


def test_a_history_knows_how_far_it_reaches() -> None:
    history = History()
    assert not history.reaches("X", -(2**62))
    history.said("X", 7)
    history.said("X", 3)
    assert (history.reaches("X", 7), history.reaches("X", 8), history.reaches("Y", 1)) == (True, False, False)


@pytest.mark.parametrize(
    ("times", "answered", "newest_settles_after", "expected"),
    [
        ([30, 20, 10], 25, 100, {30: False, 20: True, 10: True}),  # the usual answer
        ([20, 10], 25, 100, {20: False, 10: True}),  # its time has come, by our clock: it may still change
        ([20, 10], 120, 100, {20: True, 10: True}),  # a closed market
        ([20, 10], 10**9, None, {20: False, 10: True}),  # the length of an interval is unknown
        ([], 5, None, {}),
    ],
)
def test_the_newest_row_is_of_the_interval_in_progress(
    times: list[int], answered: int, newest_settles_after: int | None, expected: dict[int, bool]
) -> None:
    assert settled(times, answered, newest_settles_after) == expected
