"""Drives a session by hand against models of the exchange's servers, and checks everything it reports about delivery."""

import json
import random
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_actions import (
    Action,
    DropSocket,
    Notice,
    NoticeKind,
    OpenSocket,
    SendClose,
    SendPing,
    SendText,
    SocketProven,
    StreamsActive,
    StreamsInactive,
)
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings

INVALID = (4006, "Invalid stream")
TROUBLE = (5000, "Internal server error")


def wanted(*names: str) -> dict[str, Expectation]:
    return dict.fromkeys(names, MAY_STAY_QUIET)


def notices(actions: Iterable[Action], kind: NoticeKind) -> list[Notice]:
    return [action for action in actions if isinstance(action, Notice) and action.kind is kind]


def opened(actions: Iterable[Action]) -> list[int]:
    return [action.socket_id for action in actions if isinstance(action, OpenSocket)]


def requests(actions: Iterable[Action]) -> list[tuple[str, list[str]]]:
    frames = [json.loads(action.text) for action in actions if isinstance(action, SendText)]
    return [(frame["method"], frame["params"]) for frame in frames]


def coverage(actions: Iterable[Action]) -> list[StreamsActive | StreamsInactive]:
    return [action for action in actions if isinstance(action, StreamsActive | StreamsInactive)]


@dataclass
class ServerSide:
    """The exchange's end of one socket; it answers frames in order, as the real exchange was observed to."""

    bad: frozenset[str] = frozenset()
    trouble: tuple[int, str] | None = None
    deaf: set[str] = field(default_factory=set)
    """Streams that it accepts without an error and never delivers."""
    ignores: bool = False
    """It drops every SUBSCRIBE silently, and answers the Ping after it."""
    answers_pings: bool = True
    streams: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    """Streams whose last SUBSCRIBE it ignored."""
    ever_taken: set[str] = field(default_factory=set)
    is_excused: bool = False
    """A stream it ignored was reported active while no wanted stream could have shown that."""
    replies: list[tuple[str, bytes | tuple[int, str], frozenset[str]]] = field(default_factory=list)
    confirmed: frozenset[str] = frozenset()
    """Streams taken or ignored before a Ping whose Pong the session has received."""

    def take(self, action: Action) -> None:
        if isinstance(action, SendPing) and self.answers_pings:
            self.replies.append(("pong", action.payload, frozenset(self.streams | self.unheard)))
        if isinstance(action, SendText):
            request = json.loads(action.text)
            names = set(request["params"])
            assert len(names) == len(request["params"]) > 0
            if self.trouble is not None:
                self.replies.append(("error", self.trouble, frozenset()))
            elif request["method"] == "UNSUBSCRIBE":
                self.streams -= names
                self.unheard -= names
            elif self.ignores:
                self.unheard |= names
            elif names & self.bad:
                # The stricter of two readings: one bad name refuses the whole frame.
                self.replies.append(("error", INVALID, frozenset()))
            else:
                self.streams |= names
                self.ever_taken |= names
                self.unheard -= names


class Ledger:
    """Records and checks everything a session reports about delivery."""

    def __init__(self) -> None:
        self.active: dict[int, dict[str, float]] = {}
        self.through: dict[int, float] = {}

    def take(self, action: Action, now: float, servers: dict[int, ServerSide], *, shows: bool) -> None:
        """Check one action; `shows`: streams are wanted whose silence shows that a socket ignores SUBSCRIBEs."""
        match action:
            case StreamsActive(streams, socket_id, at):
                assert at <= now
                assert socket_id in servers, f"{action} on a socket that is not there"
                assert servers[socket_id].confirmed.issuperset(streams), f"{action} was never confirmed"
                ignored = set(streams) - servers[socket_id].ever_taken
                assert not (ignored and shows), f"{ignored} of {action} were never taken"
                servers[socket_id].is_excused |= bool(ignored)
                active = self.active.setdefault(socket_id, {})
                assert active.keys().isdisjoint(streams), f"{action} a second time"
                active.update(dict.fromkeys(streams, at))
            case StreamsInactive(streams, socket_id, through, cause):
                assert str(cause) in ("DISCONNECTED", "REFUSED", "SILENT", "UNSUBSCRIBED")
                assert through <= now
                for name in streams:
                    assert through >= self.active[socket_id].pop(name)
            case SocketProven(socket_id, through):
                assert self.through.get(socket_id, float("-inf")) < through <= now
                self.through[socket_id] = through
            case DropSocket(socket_id):
                self.gone(socket_id)

    def gone(self, socket_id: int) -> None:
        assert not self.active.pop(socket_id, {}), "active on a socket that is gone"

    @property
    def streams(self) -> set[str]:
        return {name for active in self.active.values() for name in active}


class Driver:
    """Runs a session against model servers on its own clock."""

    def __init__(self, session: Session, bad: frozenset[str] = frozenset()) -> None:
        self.session = session
        self.make_server: Callable[[], ServerSide] = lambda: ServerSide(bad)
        self.now = 1_000.0
        self.connecting: list[int] = []
        self.servers: dict[int, ServerSide] = {}
        self.log: list[Action] = []
        self.ledger = Ledger()
        self.deliveries: dict[str, int] = {}
        self.ticking: set[str] = set()
        """Streams that servers send once a second."""
        self.checks_silence = False
        self.keeps_order = False
        """Data arrives after the answers that were sent before it, as on a socket; otherwise it overtakes them."""
        self.wanted: dict[str, Expectation] = {}
        self._next_check = 0.0

    def do(self, actions: list[Action]) -> list[Action]:
        self.log += actions
        shows = self.shows_ignored()
        for action in actions:
            self.ledger.take(action, self.now, self.servers, shows=shows)
            match action:
                case OpenSocket(socket_id):
                    self.connecting.append(socket_id)
                case DropSocket(socket_id):
                    assert socket_id in self.servers or socket_id in self.connecting
                    self.servers.pop(socket_id, None)
                case SendText(socket_id) | SendPing(socket_id) | SendClose(socket_id):
                    assert socket_id in self.servers, f"{action} for a socket that is not open"
                    self.servers[socket_id].take(action)
        assert self.session.confirmed_streams == self.ledger.streams
        return actions

    def shows_ignored(self) -> bool:
        """Whether streams are wanted whose silence shows that a server ignores SUBSCRIBEs."""
        asked = self.wanted.keys() - self.session.rejected_streams
        return any(
            None not in (self.wanted[name].max_silence_seconds, self.wanted[name].first_delivery_seconds)
            for name in asked
        )

    def want(self, streams: dict[str, Expectation]) -> list[Action]:
        self.wanted = streams
        return self.do(self.session.set_streams(streams, self.now))

    def accept(self) -> int:
        socket_id = self.connecting.pop(0)
        self.servers[socket_id] = self.make_server()
        self.do(self.session.socket_opened(socket_id, self.now))
        return socket_id

    def refuse(self) -> None:
        self.do(self.session.socket_failed(self.connecting.pop(0), "refused", self.now))

    def lose(self, socket_id: int) -> list[Action]:
        del self.servers[socket_id]
        actions = self.do(self.session.socket_lost(socket_id, "reset", self.now))
        self.ledger.gone(socket_id)
        return actions

    def reply(self, socket_id: int) -> None:
        kind, what, streams = self.servers[socket_id].replies.pop(0)
        if kind == "data":
            self._receive(socket_id, streams)
        elif isinstance(what, bytes):
            self.servers[socket_id].confirmed = streams
            self.do(self.session.pong(socket_id, what, self.now))
        else:
            assert kind == "error"
            self.do(self.session.error_frame(socket_id, *what, self.now))

    def reply_all(self) -> None:
        for socket_id in list(self.servers):
            while socket_id in self.servers and self.servers[socket_id].replies:
                self.reply(socket_id)

    def deliver(self, *streams: str) -> None:
        """Let every server send one frame of each of its streams."""
        for socket_id, server in self.servers.items():
            found = server.streams.intersection(streams) - server.deaf
            if found:
                self.send_data(socket_id, found)

    def send_data(self, socket_id: int, streams: Set[str]) -> None:
        """Let one server send one frame of each of these streams."""
        if self.keeps_order and self.servers[socket_id].replies:
            self.servers[socket_id].replies.append(("data", b"", frozenset(streams)))
        else:
            self._receive(socket_id, streams)

    def _receive(self, socket_id: int, streams: Set[str]) -> None:
        for name in streams:
            self.deliveries[name] = self.deliveries.get(name, 0) + 1
        self.session.frame_seen(socket_id, self.now)

    def check(self) -> list[Action]:
        return self.do(self.session.check_silence(self.now, self.deliveries))

    def pass_time(
        self, seconds: float, *, with_replies: bool = True, step: float = 1.0, accepts: bool = False
    ) -> list[Action]:
        """Tick at every deadline on the way, as the shell does; returns the actions taken."""
        mark, end = len(self.log), self.now + seconds
        for _ in range(5_000 + 10 * int(seconds)):
            while accepts and self.connecting:
                self.accept()
            if with_replies:
                self.reply_all()
            deadline = self.session.next_deadline()
            upper = min(end, self.now + step)
            self.now = upper if deadline is None else max(self.now, min(deadline, upper))
            self.do(self.session.tick(self.now))
            if self.now >= self._next_check:
                self._next_check = self.now + 1.0
                self.deliver(*sorted(self.ticking))
                if self.checks_silence:
                    self.check()
            if self.now >= end:
                return self.log[mark:]
        raise AssertionError("time does not pass")


def started(*, bad: frozenset[str] = frozenset(), streams: Iterable[str] = (), **numbers: float) -> Driver:
    """`numbers` are settings; by default, silent streams are resubscribed after a minute first."""
    numbers = {"heal_base_seconds": 60.0} | numbers
    driver = Driver(Session(SessionSettings(**numbers), rng=random.Random(7)), bad)  # type: ignore[arg-type]  # ints too
    driver.do(driver.session.start(driver.now))
    driver.want(wanted(*streams))
    return driver


def watching(streams: dict[str, Expectation], **numbers: float) -> Driver:
    """A session whose first socket is open and subscribed, and which checks for silence every second."""
    driver = started(**numbers)
    driver.want(streams)
    driver.checks_silence = True
    driver.accept()
    driver.reply_all()
    return driver
