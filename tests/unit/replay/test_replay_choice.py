"""One copy of a stream out of several sockets' copies, whole and in order whenever a socket goes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_sandbox.replay.choice import OneSocket, stream_of
from backpack_streams.exchange.session_actions import NoticeKind
from backpack_streams.recording.records import SOCKET_ENDED


def frames(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


def test_the_first_socket_is_the_one_and_the_other_waits() -> None:
    one = OneSocket()
    assert one.take(1, b"a", 0) == [b"a"]
    assert one.take(2, b"a", 1) == []
    assert one.take(2, b"b", 2) == []
    assert one.take(1, b"b", 3) == [b"b"]
    assert one.take(1, b"b", 4) == [b"b"]  # what one socket brought twice is played twice
    assert one.end() == []


def test_what_the_other_brought_ahead_follows_when_the_first_is_gone() -> None:
    one = OneSocket()
    assert one.take(1, b"a", 0) == [b"a"]
    assert [one.take(2, each, 1) for each in (b"a", b"b", b"c")] == [[], [], []]
    assert one.gone(2, 2) == []
    assert one.gone(1, 2) == [b"b", b"c"]
    assert one.take(2, b"d", 3) == [b"d"]


def test_a_socket_that_lags_repeats_nothing_when_it_takes_over() -> None:
    one = OneSocket()
    assert [one.take(1, each, 0) for each in (b"a", b"b")] == [[b"a"], [b"b"]]
    assert one.gone(1, 1) == []
    assert [one.take(2, each, 2) for each in (b"a", b"b", b"c")] == [[], [], [b"c"]]


def test_a_socket_that_fell_silent_is_left_while_the_stream_goes_on() -> None:
    one = OneSocket()
    assert one.take(1, b"a", 0) == [b"a"]
    assert one.take(2, b"b", 9_000_000) == []
    assert one.take(2, b"c", 11_000_000) == [b"b", b"c"]


def test_nothing_that_waited_is_left_behind_at_the_end() -> None:
    one = OneSocket()
    assert one.take(1, b"a", 0) == [b"a"]
    assert one.take(2, b"b", 1) == []
    assert one.end() == [b"b"]
    assert OneSocket().end() == []


@given(st.data())
def test_make_before_break_gives_every_frame_once_in_order(data: st.DataObject) -> None:
    """Socket after socket, the next one up before the last one goes, behind it or ahead of it."""
    sizes = data.draw(st.lists(st.integers(min_value=1, max_value=12), min_size=1, max_size=4))
    ends = [sum(sizes[: count + 1]) for count in range(len(sizes))]
    one, played, begun = OneSocket(), [], 0
    for socket, end in enumerate(ends, start=1):
        mine, next_socket = frames(begun, end), socket + 1
        is_last = socket == len(ends)
        begun = (
            end if is_last else data.draw(st.integers(min_value=ends[socket - 1] - sizes[socket - 1], max_value=end))
        )
        others = [] if is_last else frames(begun, ends[socket])
        played += one.take(socket, mine.pop(0), 0) if mine else []
        while mine:
            if others and data.draw(st.booleans()):
                played += one.take(next_socket, others.pop(0), 0)
            else:
                played += one.take(socket, mine.pop(0), 0)
        played += one.gone(socket, 0)
        begun = int(others[0]) if others else ends[min(socket, len(ends) - 1)]
    assert played == frames(0, ends[-1])


@given(st.text(max_size=10), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), st.booleans())
def test_the_stream_of_a_frame_is_what_json_says(name: str, fields: dict[str, str], data_first: bool) -> None:
    frame = {"data": fields, "stream": name} if data_first else {"stream": name, "data": fields}
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (True, False):
            payload = json.dumps(frame, separators=separators, ensure_ascii=ascii_only).encode()
            assert stream_of(payload) == name


@pytest.mark.parametrize(
    ("payload", "stream"),
    [
        (b'{"id":null,"error":{"code":4006,"message":"Invalid stream"}}', None),
        (b'{"data":{"stream":"inner"},"stream":"outer"}', "outer"),
        (b'{"stream":"outer","data":{"stream":"inner"}}', "outer"),
        (b'{"data":{"x":[1]},"z":1,"stream":"trade.X"}', "trade.X"),
        (b'{"data":"a,\\"stream\\":\\"no","z":"}"}', None),
        (b"[1]", None),
        (b"no json", None),
        (b"", None),
        (b'{"stream":5}', None),
    ],
)
def test_frames_of_every_form(payload: bytes, stream: str | None) -> None:
    assert stream_of(payload) == stream


def test_the_recording_names_the_ends_of_sockets_as_the_session_does() -> None:
    ours = {kind.value for kind in NoticeKind}
    assert ours >= SOCKET_ENDED
    sockets = {kind for kind in ours if kind.startswith("socket_")}
    assert sockets - SOCKET_ENDED == {"socket_opened", "socket_renewal"}
