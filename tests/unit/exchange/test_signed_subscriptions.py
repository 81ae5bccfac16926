"""Private streams: each frame is signed with the time at which it is sent; the effect of a refused signature."""

import json
from collections.abc import Callable
from typing import Any

from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_actions import Action, Notice, NoticeKind, OpenSocket, SendPing, SendText
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, SessionSettings
from backpack_streams.exchange.subscriptions import (
    Confirmed,
    Refused,
    Rejected,
    SignatureRefused,
    SocketSubscriptions,
    Verdict,
)

ORDERS, POSITIONS = "account.orderUpdate", "account.positionUpdate"
REFUSED = (4005, "Invalid signature")


class Wall:
    """Signs with a clock that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_000

    def sign(self) -> tuple[str, ...]:
        return "key", f"signed at {self.ms}", str(self.ms), "5000"


def frames(actions: list[Action]) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, SendText)]


def pings(actions: list[Action]) -> list[bytes]:
    return [action.payload for action in actions if isinstance(action, SendPing)]


def notices(actions: list[Action], kind: NoticeKind) -> list[Notice]:
    return [action for action in actions if isinstance(action, Notice) and action.kind is kind]


def session_of(wall: Wall, *streams: str, **settings: Any) -> tuple[Session, int, list[Action]]:
    """A session whose first socket is open; the socket's number, and the actions taken when it opened."""
    session = Session(SessionSettings(**settings), sign=wall.sign)
    session.set_streams(dict.fromkeys(streams, MAY_STAY_QUIET), 0.0)
    socket_id = next(action.socket_id for action in session.start(0.0) if isinstance(action, OpenSocket))
    return session, socket_id, session.socket_opened(socket_id, 0.0)


def test_a_private_subscription_carries_a_signature_and_a_public_one_does_not() -> None:
    wall = Wall()
    session, _, first = session_of(wall, "trade.A", ORDERS, "trade.B", POSITIONS)
    sent = frames([*first, *session.tick(1.0)])
    assert sent == [
        {"method": "SUBSCRIBE", "params": ["trade.A", "trade.B"]},
        {"method": "SUBSCRIBE", "params": [ORDERS, POSITIONS], "signature": ["key", "signed at 1000", "1000", "5000"]},
    ]


def test_unsubscribing_needs_no_signature() -> None:
    session, _, _ = session_of(Wall(), ORDERS)
    assert frames(session.set_streams({}, 1.0)) == [{"method": "UNSUBSCRIBE", "params": [ORDERS]}]


def test_each_frame_is_signed_when_it_is_sent_not_when_it_is_planned() -> None:
    wall = Wall()
    session, _, first = session_of(wall, ORDERS, POSITIONS, subscribe_batch_streams=1)
    wall.ms = 7_000
    second = session.tick(1.0)
    assert [frame["signature"][2] for frame in frames([*first, *second])] == ["1000", "7000"]


def test_a_reconnect_and_a_planned_replacement_sign_again() -> None:
    wall = Wall()
    session, socket_id, _ = session_of(wall, ORDERS)
    wall.ms = 20_000
    lost = session.socket_lost(socket_id, "cut", 10.0)
    [again] = [a.socket_id for a in [*lost, *session.tick(50.0)] if isinstance(a, OpenSocket)]
    [frame] = frames(session.socket_opened(again, 50.0))
    assert frame["signature"][1:3] == ["signed at 20000", "20000"]
    wall.ms = 90_000
    [newer] = [action.socket_id for action in session.renew(120.0) if isinstance(action, OpenSocket)]
    [frame] = frames(session.socket_opened(newer, 120.0))
    assert frame["signature"][2] == "90000"


def test_a_refused_signature_costs_one_frame_and_one_error_for_any_number_of_streams() -> None:
    wall = Wall()
    session, socket_id, first = session_of(wall, ORDERS, POSITIONS, refused_signature_retry_seconds=10.0)
    assert session.error_frame(socket_id, *REFUSED, 1.0) == []
    actions = session.pong(socket_id, pings(first)[0], 1.0)
    [refused] = notices(actions, NoticeKind.SIGNATURE_REFUSED)
    assert (refused.code, refused.retry_seconds) == (4005, 10.0)
    assert "4005 Invalid signature" in refused.message
    assert {each.stream for each in notices(actions, NoticeKind.STREAM_REJECTED)} == {ORDERS, POSITIONS}
    assert frames(actions) == []
    assert session.rejected_streams == {ORDERS, POSITIONS}
    assert session.confirmed_streams == frozenset()
    assert frames(session.tick(10.9)) == []
    wall.ms = 12_000
    retried = session.tick(11.1)
    assert [frame["signature"][2] for frame in frames(retried)] == ["12000"]
    session.pong(socket_id, pings(retried)[0], 11.2)
    assert session.confirmed_streams == {ORDERS, POSITIONS}


def test_a_signature_refused_on_two_sockets_is_reported_once() -> None:
    session, first_id, first = session_of(Wall(), ORDERS, connections=2)
    second = session.socket_opened(2, 0.0)
    told = []
    for socket_id, actions in ((first_id, first), (2, second)):
        session.error_frame(socket_id, *REFUSED, 1.0)
        told += session.pong(socket_id, pings(actions)[0], 1.0)
    assert len(notices(told, NoticeKind.SIGNATURE_REFUSED)) == 1


def test_a_public_stream_is_confirmed_despite_a_refused_signature() -> None:
    session, socket_id, first = session_of(Wall(), "trade.A", ORDERS)
    second = session.tick(0.5)
    session.pong(socket_id, pings(first)[0], 1.0)
    session.error_frame(socket_id, *REFUSED, 1.0)
    session.pong(socket_id, pings(second)[0], 1.0)
    assert session.confirmed_streams == {"trade.A"}
    assert session.rejected_streams == {ORDERS}


def answer(
    streams: list[str], error_of: Callable[[dict[str, Any]], tuple[int, str] | None]
) -> tuple[SocketSubscriptions, list[Verdict]]:
    """One socket whose frames get this error until all is settled; returns its verdicts on errors."""
    settings = SessionSettings()
    liveness = Liveness(1, settings, 0.0)
    socket = SocketSubscriptions(1, settings, liveness, streams, sign=Wall().sign)
    now, verdicts = 0.0, list[Verdict]()
    while socket.confirmed.keys() != socket.wanted:
        now += 1.0
        actions = socket.send(now)
        for frame, ping in zip(frames(actions), pings(actions), strict=True):
            assert frame["signature"]
            error = error_of(frame)
            if error is not None:
                socket.error(*error, now)
            number = liveness.pong(ping)
            assert number is not None
            verdicts += socket.answered(number, now)
    return socket, [verdict for verdict in verdicts if not isinstance(verdict, Confirmed | Refused)]


def test_an_error_about_a_stream_is_traced_to_it_in_signed_frames_too() -> None:
    invalid = (4006, "Invalid stream")
    socket, verdicts = answer(
        [ORDERS, "account.newUpdate"], lambda frame: invalid if "account.newUpdate" in frame["params"] else None
    )
    assert verdicts == [Rejected("account.newUpdate", 4006, "Invalid stream")]
    assert socket.confirmed.keys() == {ORDERS}


def test_a_signature_refused_during_a_trace_is_reported_as_that() -> None:
    answers = iter([(4006, "Invalid stream"), REFUSED, REFUSED])
    _, verdicts = answer([ORDERS, POSITIONS], lambda _: next(answers))
    assert verdicts == [SignatureRefused((ORDERS,), *REFUSED), SignatureRefused((POSITIONS,), *REFUSED)]


def test_a_subscription_is_confirmed_by_its_pong_and_stays_so_on_a_draining_socket() -> None:
    session, socket_id, first = session_of(Wall(), ORDERS)
    assert session.confirmed_streams == frozenset()
    session.pong(socket_id, pings(first)[0], 1.0)
    assert session.confirmed_streams == {ORDERS}
    actions = session.server_close(socket_id, 1001, "", 70.0)
    assert session.confirmed_streams == {ORDERS}, "it delivers on during the grace"
    [newer] = [action.socket_id for action in actions if isinstance(action, OpenSocket)]
    session.socket_opened(newer, 70.1)
    assert session.confirmed_streams == {ORDERS}
    session.socket_lost(socket_id, "over", 71.0)
    assert session.confirmed_streams == frozenset()
