"""Of what is polled only the news is published: changes and deletions, and each settled rate once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.rest_poller.changes import Reference, Said

keys = st.sampled_from(["A", "B", "C.D"])
tables = st.dictionaries(keys, st.sampled_from(["1", "2"]))
answers = st.lists(st.tuples(tables, st.integers(0, 5), st.booleans()), max_size=12)


def publish(
    reference: Reference, rows: dict[str, str], as_of_us: int, complete: bool = True
) -> tuple[list[str], list[str]]:
    """What the poller does: all that is new goes out, and the topic holds it then."""
    changed, gone = reference.changes(rows, as_of_us, complete)
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
        if rows and complete:
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
def test_what_the_topic_held_before_the_start_is_no_news(held: dict[str, str], rows: dict[str, str]) -> None:
    reference = Reference()
    for key, raw in held.items():
        reference.holds(key, raw)
    changed, gone = publish(reference, rows, 10)
    assert set(changed) == {key for key in rows if held.get(key) != rows[key]}
    assert gone == (sorted(held.keys() - rows.keys()) if rows else [])


def test_an_older_answer_is_ignored_though_it_differs() -> None:
    reference = Reference()
    publish(reference, {"A": "new"}, 10)
    assert publish(reference, {"A": "old", "B": "old"}, 9) == ([], [])
    assert publish(reference, {"A": "newer"}, 10) == (["A"], [])


def test_an_older_answer_is_ignored_even_after_an_answer_that_said_nothing_new() -> None:
    reference = Reference()
    publish(reference, {"A": "1"}, 10)
    publish(reference, {"A": "1"}, 20)
    assert publish(reference, {"A": "2"}, 15) == ([], [])


def test_what_is_listed_no_more_is_deleted_once() -> None:
    reference = Reference()
    publish(reference, {"A": "1", "B": "1", "C": "1"}, 10)
    assert publish(reference, {"B": "1"}, 11) == ([], ["A", "C"])
    assert publish(reference, {"B": "1"}, 12) == ([], [])
    assert publish(reference, {"A": "1", "B": "1"}, 13) == (["A"], [])


def test_an_empty_or_incomplete_answer_deletes_nothing() -> None:
    reference = Reference()
    publish(reference, {"A": "1", "B": "1"}, 10)
    assert publish(reference, {}, 11) == ([], [])
    assert publish(reference, {"A": "2"}, 12, complete=False) == (["A"], [])
    assert publish(reference, {"A": "2"}, 13) == ([], ["B"])


def test_what_could_not_be_published_is_news_again() -> None:
    reference = Reference()
    publish(reference, {"A": "1"}, 10)
    for as_of_us in (11, 12):
        assert reference.changes({"B": "1"}, as_of_us, complete=True) == (["B"], ["A"])


def test_a_deletion_that_the_topic_holds_is_remembered() -> None:
    reference = Reference()
    reference.holds("A", "1")
    reference.holds("A", None)
    assert reference.changes({"B": "1"}, 1, complete=True) == (["B"], [])


# ---- histories


def rate(end: int, settled: bool, symbol: str = "X") -> dict[str, Any]:
    return {"symbol": symbol, "interval_end_time": end, "is_settled": settled}


def say(said: Said, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    news = said.news(rows)
    for row in news:
        said.said(row)
    return news


@given(st.lists(st.integers(0, 8), max_size=8), st.integers(1, 5))
def test_each_settled_interval_is_said_once_and_the_one_in_progress_every_time(steps: list[int], window: int) -> None:
    said = Said()
    told: list[int] = []
    now = 10
    for step in steps:
        now += step
        rows = [
            rate(now + 1, settled=False),
            *(rate(end, settled=True) for end in range(now, max(now - window, 0), -1)),
        ]
        news = say(said, rows)
        assert news[-1] == rate(now + 1, settled=False)
        told += [row["interval_end_time"] for row in news if row["is_settled"]]
    assert told == sorted(set(told))


def test_symbols_are_told_apart_and_rows_go_out_oldest_first() -> None:
    said = Said()
    rows = [rate(5, True, "A"), rate(4, True, "A"), rate(4, True, "B.C")]
    assert [(row["symbol"], row["interval_end_time"]) for row in say(said, rows)] == [("A", 4), ("B.C", 4), ("A", 5)]
    assert say(said, [*rows, rate(5, True, "B.C")]) == [rate(5, True, "B.C")]


def test_an_interval_that_settles_is_said_once_more() -> None:
    said = Said()
    assert say(said, [rate(5, False)]) == [rate(5, False)]
    assert say(said, [rate(5, True)]) == [rate(5, True)]
    assert say(said, [rate(5, True)]) == []


def test_a_row_that_was_not_published_is_news_again() -> None:
    said = Said()
    assert said.news([rate(5, True)]) == said.news([rate(5, True)]) == [rate(5, True)]
