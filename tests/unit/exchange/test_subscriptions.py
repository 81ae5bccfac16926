"""The subscriptions of one socket: order of frames, attribution of errors, and changes in flight."""

import json

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.session_actions import SendPing, SendText
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.subscriptions import (
    Confirmed,
    Refused,
    Rejected,
    SocketSubscriptions,
    Unattributed,
    Verdict,
)

INVALID = (4006, "Invalid stream")
Sent = list[tuple[str, list[str]]]


class Exchange:
    """The other end: takes frames and answers each Ping, after an error if the frame names a bad stream."""

    def __init__(self, names: str, *, bad: str = "", batch: int = 4, ahead: int = 1) -> None:
        settings = SessionSettings(
            subscribe_batch_streams=batch,
            outstanding_batches=ahead,
            subscribe_spacing_seconds=0.05,
            barrier_timeout_seconds=30.0,
        )
        self.liveness = Liveness(1, settings, 0.0)
        self.socket = SocketSubscriptions(1, settings, self.liveness, names)
        self.bad = set(bad)
        self.now = 0.0
        self.sent: Sent = []
        self.streams: set[str] = set()
        self.verdicts: list[Verdict] = []
        self._replies: list[bytes | None] = []

    def send(self) -> Sent:
        """Send one frame, if one is due."""
        self.now += 0.05
        mark = len(self.sent)
        for action in self.socket.send(self.now):
            if isinstance(action, SendPing):
                self._replies.append(action.payload)
            if isinstance(action, SendText):
                self._take(json.loads(action.text))
        return self.sent[mark:]

    def _take(self, request: dict[str, list[str]]) -> None:
        method, names = str(request["method"]), request["params"]
        self.sent.append((method, names))
        if method == "UNSUBSCRIBE":
            self.streams -= set(names)
        elif self.bad.isdisjoint(names):
            self.streams |= set(names)
        else:
            self._replies.append(None)

    def reply(self) -> None:
        """Answer everything so far."""
        while self._replies:
            payload = self._replies.pop(0)
            if payload is None:
                assert self.socket.error(*INVALID, self.now)
            else:
                self.pong(payload)

    def pong(self, payload: bytes) -> None:
        number = self.liveness.pong(payload)
        assert number is not None
        self.verdicts += self.socket.answered(number, self.now)

    @property
    def blame(self) -> list[Verdict]:
        """The verdicts other than confirmations and retries."""
        return [verdict for verdict in self.verdicts if not isinstance(verdict, Confirmed | Refused)]

    @property
    def is_settled(self) -> bool:
        """Whether all wanted streams are confirmed."""
        return self.socket.confirmed.keys() == self.socket.wanted

    def settle(self) -> None:
        while not self.is_settled or self.socket.due_at() is not None or self._replies:
            self.send()
            self.reply()


@given(
    good=st.sets(st.characters(min_codepoint=97, max_codepoint=122)),
    bad=st.sets(st.characters(min_codepoint=65, max_codepoint=90)),
    batch=st.integers(1, 9),
    ahead=st.integers(1, 4),
)
def test_every_bad_stream_is_named_once_and_every_good_one_subscribed(
    good: set[str], bad: set[str], batch: int, ahead: int
) -> None:
    exchange = Exchange("".join(sorted(good | bad)), bad="".join(bad), batch=batch, ahead=ahead)
    exchange.settle()
    assert exchange.streams == good
    assert exchange.socket.confirmed.keys() == good
    assert sorted(exchange.blame, key=repr) == [Rejected(name, *INVALID) for name in sorted(bad)]


def test_an_error_belongs_to_the_oldest_outstanding_batch() -> None:
    exchange = Exchange("abcXdefg", bad="X", batch=4, ahead=2)
    exchange.send()
    exchange.send()
    assert [names for _, names in exchange.sent] == [list("abcX"), list("defg")]
    exchange.settle()
    retried = {name for _, names in exchange.sent[2:] for name in names}
    assert retried == set("abcX")


def test_one_pong_confirms_every_batch_before_it() -> None:
    exchange = Exchange("ab", batch=1, ahead=2)
    exchange.send()
    exchange.send()
    exchange._replies.pop(0)
    exchange.reply()
    assert exchange.is_settled
    assert exchange.verdicts == [Confirmed(("a",)), Confirmed(("b",))]


def test_nothing_else_is_sent_while_an_error_is_traced() -> None:
    exchange = Exchange("aXcdefgh", bad="X", batch=4, ahead=1)
    exchange.send()
    exchange.reply()
    exchange.send()
    assert exchange.sent[-1] == ("SUBSCRIBE", ["a", "X"])
    assert exchange.send() == []


def test_a_bad_stream_no_longer_wanted_takes_the_blame_and_the_others_are_retried() -> None:
    exchange = Exchange("abcX", bad="X")
    exchange.send()
    exchange.socket.remove("X")
    exchange.settle()
    assert exchange.streams == set("abc")
    assert exchange.blame == []


def test_a_stream_known_to_be_bad_from_another_socket_is_not_retried() -> None:
    exchange = Exchange("abcX", bad="X")
    exchange.send()
    exchange.socket.reject("X")
    exchange.settle()
    assert exchange.sent[1:] == [("SUBSCRIBE", list("abc"))]
    assert exchange.blame == []


def test_a_change_of_mind_between_frames_sends_no_unsubscribe() -> None:
    exchange = Exchange("ab")
    exchange.settle()
    exchange.socket.remove("a")
    exchange.socket.add("a")
    exchange.socket.add("c")
    exchange.socket.remove("c")
    exchange.settle()
    assert exchange.sent[1:] == [("SUBSCRIBE", ["a"])]


def test_a_stream_dropped_and_wanted_again_while_its_frame_was_refused_is_subscribed() -> None:
    exchange = Exchange("abX", bad="X")
    exchange.send()
    exchange.socket.remove("b")
    exchange.reply()
    exchange.socket.add("b")
    exchange.settle()
    assert exchange.streams == set("ab")


def test_a_stream_requested_only_by_a_trace_is_unsubscribed_once_it_is_unwanted() -> None:
    exchange = Exchange("aX", bad="X", ahead=2)
    exchange.send()
    exchange.socket.remove("a")
    exchange.socket.remove("X")
    exchange.send()
    exchange.socket.add("a")
    exchange.reply()
    exchange.send()
    assert exchange.sent == [("SUBSCRIBE", ["a", "X"]), ("UNSUBSCRIBE", ["a", "X"]), ("SUBSCRIBE", ["a"])]
    exchange.socket.remove("a")
    exchange.settle()
    assert exchange.streams == set()


def test_resubscribing_sends_both_requests_and_removes_the_confirmation() -> None:
    exchange = Exchange("ab")
    exchange.settle()
    before = exchange.socket.confirmed["a"]
    exchange.socket.resubscribe("a")
    exchange.socket.resubscribe("unknown")
    assert "a" not in exchange.socket.confirmed
    assert not exchange.is_settled
    exchange.settle()
    assert exchange.sent[1:] == [("UNSUBSCRIBE", ["a"]), ("SUBSCRIBE", ["a"])]
    assert exchange.socket.confirmed["a"] > before


def test_asking_again_keeps_the_confirmation_even_if_it_is_refused() -> None:
    exchange = Exchange("ab")
    exchange.settle()
    confirmed = dict(exchange.socket.confirmed)
    exchange.socket.ask_again("a")
    exchange.socket.ask_again("unknown")
    exchange.send()
    exchange.socket.error(5000, "Internal server error", exchange.now)
    exchange.reply()
    assert exchange.sent[1:] == [("SUBSCRIBE", ["a"])]
    assert exchange.socket.confirmed == confirmed
    assert exchange.socket.due_at() is None, "nobody waits for it"


def test_a_stream_requested_again_is_not_confirmed_by_the_pong_of_its_first_subscription() -> None:
    exchange = Exchange("a", ahead=4)
    exchange.send()
    exchange.socket.remove("a")
    exchange.socket.add("a")
    exchange.send()
    first = exchange._replies.pop(0)
    assert first is not None
    exchange.pong(first)
    assert exchange.socket.confirmed == {}
    exchange.reply()
    assert exchange.socket.confirmed.keys() == {"a"}


def test_an_error_of_an_unsubscribe_is_reported_and_not_traced() -> None:
    exchange = Exchange("a")
    exchange.settle()
    exchange.socket.remove("a")
    exchange.send()
    assert exchange.socket.error(*INVALID, exchange.now)
    exchange.reply()
    assert exchange.blame == [Unattributed(*INVALID)]


def test_without_pongs_the_next_frames_are_sent_and_an_error_is_unattributed() -> None:
    exchange = Exchange("abcdX", bad="X", batch=2)
    exchange.send()
    assert exchange.send() == []
    exchange.now += 30
    assert exchange.send() == [("SUBSCRIBE", ["c", "d"])]
    assert exchange.send() == [("SUBSCRIBE", ["X"])]
    exchange.socket.error(*INVALID, exchange.now)
    exchange._replies.remove(None)
    exchange.settle()
    assert exchange.streams == exchange.socket.confirmed.keys() == set("abcd")
    assert exchange.blame == [Rejected("X", *INVALID)]
