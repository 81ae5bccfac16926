"""The WebSocket session with the exchange as a state machine without I/O: events and times in, actions out.

It keeps the wanted number of sockets up and subscribes each to every wanted stream. It reports which streams are active on which socket,
and how far each socket is proven. Gaps, readiness and watermarks all follow from these reports.
"""

import random
from collections.abc import Iterable, Iterator, Mapping

from backpack_streams.exchange.answers import Answers
from backpack_streams.exchange.healing import Healing
from backpack_streams.exchange.link_pool import LinkPool
from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.refusals import Refusals
from backpack_streams.exchange.session_actions import Action, Cause, NoticeKind, shown
from backpack_streams.exchange.session_links import DELIVERING, USEFUL, Link, LinkState
from backpack_streams.exchange.session_settings import Expectation, SessionSettings
from backpack_streams.exchange.silence import SilenceWatch
from backpack_streams.exchange.subscriptions import LinkSubscriptions, Sign

_UNWANTED_LIMIT = 10_000


class Session:
    """The sockets, subscriptions, liveness, reconnects, errors and silence of one WebSocket endpoint.

    `now` is in seconds of one monotonic clock. Every event returns the actions to carry out, in order. Events about sockets that the
    session has dropped are ignored. After each event the shell should schedule a `tick` for `next_deadline()`.
    """

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        rng: random.Random | None = None,
        sign: Sign | None = None,
    ) -> None:
        """Start without sockets and streams.

        Args:
            settings: bounds and times.
            rng: makes the jitter repeatable.
            sign: called for a signature right before each subscription of private streams is sent. Without it they are sent unsigned.
        """
        self._settings = settings or SessionSettings()
        self._random = rng
        self._sign = sign
        self._pool = LinkPool(self._settings, rng)
        self._expectations: dict[str, Expectation] = {}
        self._refusals = Refusals(self._settings)
        self._silence = SilenceWatch(self._settings)
        self._healing = Healing(self._pool, self._silence)
        self._answers = Answers(self._pool, self._refusals, self._silence, self._healing)
        self._unsubscribed_at: dict[str, float] = {}
        self._is_paused = False
        self._is_stopped = False

    # State.

    @property
    def open_links(self) -> int:
        """Sockets that can deliver now: open ones, and draining ones that have not ended."""
        return len(self._pool.in_state(*DELIVERING))

    @property
    def streams(self) -> frozenset[str]:
        """The wanted streams, rejected ones included."""
        return frozenset(self._expectations)

    @property
    def rejected_streams(self) -> frozenset[str]:
        """Wanted streams that the exchange refused and that are not due for another try yet."""
        return frozenset(self._refusals.until)

    @property
    def silent_streams(self) -> frozenset[str]:
        """Wanted streams that should deliver and have been silent for longer than expected."""
        return self._silence.silent

    @property
    def confirmed_streams(self) -> frozenset[str]:
        """Streams that are active on a socket: the sum of all `StreamsActive` and `StreamsInactive` events."""
        return frozenset().union(*(link.streams.since for link in self._pool.in_state(*DELIVERING)))

    def next_deadline(self) -> float | None:
        """When the next `tick` is due; None if only an event can change anything."""
        return None if self._is_stopped else min(self._deadlines(), default=None)

    # Commands of the owner.

    def start(self, now: float) -> list[Action]:
        """Open the first sockets."""
        self._pool.start(now)
        return self.tick(now)

    def stop(self, now: float) -> list[Action]:
        """Close and drop every socket. The session does nothing after that."""
        self._is_stopped = True
        links = list(self._pool.links.values())
        message = "the session stops"
        return [action for link in links for action in self._pool.drop(link, NoticeKind.LINK_STOPPED, message, now)]

    def set_streams(self, streams: Mapping[str, Expectation], now: float) -> list[Action]:
        """Want exactly these streams. On every open socket, new ones are subscribed and others unsubscribed."""
        gone = self._expectations.keys() - streams.keys()
        added = [name for name in streams if name not in self._expectations]
        self._expectations = dict(streams)
        actions: list[Action] = []
        for link in self._pool.in_state(*DELIVERING):
            actions += link.streams.deactivate(sorted(gone), Cause.UNSUBSCRIBED)
        for name in gone:
            self._refusals.forget(name)
            self._silence.forget(name)
            self._unsubscribed_at.pop(name, None)  # the oldest come first
            self._unsubscribed_at[name] = now
        for name in added:
            self._silence.add(name)
        for link in self._pool.in_state(*USEFUL):
            for name in sorted(gone):
                link.subscriptions.remove(name)
        for subscriptions in self._open_subscriptions():
            for name in added:
                subscriptions.add(name)
        return actions + self._flush(now)

    def renew(self, now: float) -> list[Action]:
        """Replace every open socket by a new one, which is subscribed before the old one ends."""
        return self._pool.renew_all("asked for", now) + self._flush(now)

    def doubt(self, streams: Iterable[str], reason: str, now: float) -> list[Action]:
        """Mark streams as not delivered: other streams show that they should have sent something. They are inactive until they deliver.

        Each is resubscribed repeatedly, with growing waits. A second doubt of the same stream means that its new subscription does not
        deliver either.
        """
        active = self.confirmed_streams
        found = [
            name
            for name in dict.fromkeys(streams)
            if name in self._expectations and (name in active or self._silence.is_failing(name))
        ]
        return self._healing.doubt(found, shown(reason), now) + self._flush(now)

    def unwanted(self, stream: str, now: float) -> list[Action]:
        """Note a frame of a stream that is not wanted. Its UNSUBSCRIBE is repeated from time to time."""
        asked = self._unsubscribed_at
        repeatable = now - self._settings.unwanted_repeat_seconds
        if stream in self._expectations or asked.get(stream, repeatable) > repeatable:
            return []
        while asked and asked[oldest := next(iter(asked))] <= repeatable:
            del asked[oldest]
        if len(asked) >= _UNWANTED_LIMIT:
            return []
        asked[stream] = now
        for subscriptions in self._open_subscriptions():
            subscriptions.unsubscribe(stream)
        return self._flush(now)

    def reading_paused(self, now: float) -> list[Action]:
        """Nothing is read from any socket from now on, so silence proves nothing."""
        self._is_paused = True
        return self._flush(now)

    def reading_resumed(self, now: float) -> list[Action]:
        """Sockets are read again: every wait for something to arrive restarts."""
        self._is_paused = False
        self._healing.listening_since = now
        for link in self._pool.links.values():
            link.liveness.restart(now)
            link.give_up_at = max(link.give_up_at, now + self._settings.server_grace_margin_seconds)
            link.subscriptions.restart_barrier_clock(now)
        return self.tick(now)

    # Events of sockets.

    def link_opened(self, link_id: int, now: float) -> list[Action]:
        """The WebSocket handshake of a socket is complete."""
        link = self._pool.links.get(link_id)
        if link is None or link.state is not LinkState.CONNECTING:
            return []
        wanted = [name for name in self._expectations if name not in self._refusals.until]
        link.liveness = Liveness(link_id, self._settings, now)
        link.subscriptions = LinkSubscriptions(
            link_id, self._settings, link.liveness, wanted, now, sign=self._sign, rng=self._random
        )
        return self._pool.opened(link, now) + self._flush(now)

    def link_failed(self, link_id: int, reason: str, now: float) -> list[Action]:
        """A socket could not be opened; `reason` is one line."""
        link = self._pool.links.get(link_id)
        if link is None or link.state is not LinkState.CONNECTING:
            return []
        return self._pool.failed(link, reason, now) + self._flush(now)

    def link_lost(self, link_id: int, reason: str, now: float) -> list[Action]:
        """A socket ended; `reason` is one line."""
        link = self._pool.links.get(link_id)
        if link is None or link.state is LinkState.CONNECTING:
            return self.link_failed(link_id, reason, now)
        return self._pool.lost(link, reason, now) + self._flush(now)

    def server_close(self, link_id: int, code: int, reason: str, now: float) -> list[Action]:
        """The server sent its Close frame: open a new socket, and let the old one deliver as long as it does."""
        link = self._pool.links.get(link_id)
        if link is None or link.state not in USEFUL:
            return []
        return self._pool.closed_by_server(link, code, reason, now) + self._flush(now)

    def frame_seen(self, link_id: int, seen_at: float) -> None:
        """Data arrived on a socket. It is enough to report the first and the latest arrival before each `tick`."""
        link = self._delivering(link_id)
        if link is None:
            return
        if link.first_data_at is None:
            link.first_data_at = seen_at
        link.last_data_at = seen_at
        link.liveness.heard(seen_at)

    def heard(self, link_id: int, heard_at: float) -> None:
        """A frame of any kind arrived on a socket."""
        link = self._delivering(link_id)
        if link is not None:
            link.liveness.heard(heard_at)

    def pong(self, link_id: int, payload: bytes, now: float) -> list[Action]:
        """A Pong arrived."""
        link = self._delivering(link_id)
        if link is None:
            return []
        link.liveness.heard(now)
        number = link.liveness.pong(payload)
        if number is None:
            return []
        link.is_told_mute = False
        verdicts = link.subscriptions.answered(number, now)
        actions = link.prove() + self._answers.judge(link, verdicts, self._expectations, now)
        return actions + self._flush(now)

    def error_frame(self, link_id: int, code: int, message: str, now: float) -> list[Action]:
        """The exchange sent an error frame, such as 4006 `Invalid stream`."""
        link = self._delivering(link_id)
        if link is None or link.subscriptions.error(code, shown(message), now):
            return []
        return self._refusals.unattributed(code, shown(message), link_id, now)

    # Time.

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        if self._is_stopped:
            return []
        for name in self._refusals.take_due(now):
            for subscriptions in self._open_subscriptions():
                subscriptions.add(name)
        actions: list[Action] = []
        if not self._is_paused:
            for link in self._pool.in_state(*DELIVERING):
                actions += self._pool.look_after(link, now)
        return actions + self._flush(now)

    def check_silence(self, now: float, deliveries: Mapping[str, int]) -> list[Action]:
        """Find streams and sockets that should have delivered, and repair them.

        Args:
            now: seconds of the session's clock.
            deliveries: frames of each stream so far; an absent stream has none. The mapping is kept, and read again when a subscription is
                confirmed.
        """
        if self._is_stopped or self._is_paused:
            return []
        return self._healing.check(now, self._expectations, deliveries) + self._flush(now)

    def _deadlines(self) -> Iterator[float]:
        yield from self._refusals.until.values()
        yield from self._pool.deadlines(is_paused=self._is_paused)
        for subscriptions in self._open_subscriptions():
            due_at = subscriptions.due_at()
            if due_at is not None:
                yield due_at

    def _flush(self, now: float) -> list[Action]:
        if self._is_stopped:
            return []
        actions = self._pool.open_due(now)
        for subscriptions in self._open_subscriptions():
            actions += subscriptions.send(now)
        if not self._is_paused:
            actions += self._pool.drop_replaced(now)
        return actions

    def _delivering(self, link_id: int) -> Link | None:
        link = self._pool.links.get(link_id)
        return link if link is not None and link.state in DELIVERING else None

    def _open_subscriptions(self) -> list[LinkSubscriptions]:
        return [link.subscriptions for link in self._pool.in_state(LinkState.OPEN)]
