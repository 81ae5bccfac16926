"""The WebSocket session with the exchange as a state machine without I/O: events and times in, actions out.

It keeps the wanted number of links up, each subscribed to every wanted stream, and replaces a link before it goes
wherever that is possible. It never looks at market data.
"""

import random
from collections import deque
from collections.abc import Iterator, Mapping

from backpack_streams.exchange.backoff import Backoff
from backpack_streams.exchange.session_actions import (
    Action,
    DropLink,
    Notice,
    NoticeKind,
    OpenLink,
    SendClose,
    SendPing,
)
from backpack_streams.exchange.session_links import DELIVERING, DRAINING, Link, LinkState, Slot
from backpack_streams.exchange.session_settings import Expectation, SessionSettings
from backpack_streams.exchange.silence import FellSilent, SilenceWatch
from backpack_streams.exchange.subscriptions import (
    LinkSubscriptions,
    Rejected,
    Sign,
    SignatureRefused,
    Unanswered,
    Verdict,
)

_LIVENESS_PAYLOAD = b"alive?"
_HANDOVER_POLL_SECONDS = 0.1
_LATE_TICK_SECONDS = 1.0
"""A tick later than this means that this process stood still, which says nothing about the link."""
_MINUTE_SECONDS = 60.0
_SHOWN_CHARACTERS = 200


class Session:
    """Links, subscriptions, liveness, reconnects, errors and silence of one WebSocket endpoint.

    Every method that takes `now` wants seconds of one monotonic clock that never runs backwards, and every event
    gives the actions to carry out, in order. Events about links that the session has dropped are ignored. After
    each event the shell should plan a `tick` for `next_deadline()`.
    """

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        rng: random.Random | None = None,
        sign: Sign | None = None,
    ) -> None:
        """Start with no link and no stream.

        Args:
            settings: bounds and times.
            rng: makes the reconnect jitter repeatable.
            sign: asked for a signature right before each subscription of private streams goes out; without it they go
                out unsigned.
        """
        self._settings = settings or SessionSettings()
        self._sign = sign
        base, cap = self._settings.reconnect_base_seconds, self._settings.reconnect_cap_seconds
        self._slots = [Slot(Backoff(base, cap, rng)) for _ in range(self._settings.connections)]
        self._links: dict[int, Link] = {}
        self._last_link_id = 0
        self._expectations: dict[str, Expectation] = {}
        self._rejected_until: dict[str, float] = {}
        self._silence = SilenceWatch()
        self._listening_from = float("-inf")
        self._is_paused = False
        self._is_stopped = False
        self._connects: deque[float] = deque(maxlen=self._settings.connects_per_minute_limit)
        self._is_at_connect_limit = False
        self._unattributed: deque[float] = deque(maxlen=self._settings.unattributed_notices_per_minute_limit)

    # What is so.

    @property
    def open_links(self) -> int:
        """Links that can deliver data now: open ones, and draining ones that are still there."""
        return sum(link.state in DELIVERING for link in self._links.values())

    @property
    def streams(self) -> frozenset[str]:
        """The wanted streams, rejected ones included."""
        return frozenset(self._expectations)

    @property
    def rejected_streams(self) -> frozenset[str]:
        """Wanted streams that the exchange refused and that are not due for another try yet."""
        return frozenset(self._rejected_until)

    @property
    def silent_streams(self) -> frozenset[str]:
        """Wanted streams that should deliver and have not done so for longer than expected."""
        return self._silence.silent

    @property
    def confirmed_streams(self) -> frozenset[str]:
        """Streams that some link delivers, as far as the exchange lets know."""
        delivering = (link for link in self._links.values() if link.state in DELIVERING)
        return frozenset().union(*(link.subscriptions.confirmed() for link in delivering))

    def next_deadline(self) -> float | None:
        """When the next `tick` is due, None if only an event can change anything."""
        return None if self._is_stopped else min(self._deadlines(), default=None)

    # What the owner wants.

    def start(self, now: float) -> list[Action]:
        """Open the first links."""
        for slot in self._slots:
            slot.retry_at = now
        return self.tick(now)

    def stop(self, now: float) -> list[Action]:
        """Close and drop every link; nothing is done after that."""
        self._is_stopped = True
        links = list(self._links.values())
        return [action for link in links for action in self._drop(link, NoticeKind.LINK_STOPPED, "the session stops")]

    def set_streams(self, streams: Mapping[str, Expectation], now: float) -> list[Action]:
        """Want exactly these streams: the difference is subscribed and unsubscribed on every open link."""
        gone = self._expectations.keys() - streams.keys()
        added = [name for name in streams if name not in self._expectations]
        self._expectations = dict(streams)
        for name in gone:
            self._rejected_until.pop(name, None)
            self._silence.forget(name)
        for subscriptions in self._open_subscriptions():
            for name in gone:
                subscriptions.remove(name)
            for name in added:
                subscriptions.add(name)
        return self._flush(now)

    def renew(self, now: float) -> list[Action]:
        """Replace every open link by a new one, which settles before the old one goes."""
        for slot in self._slots:
            if slot.current is not None and slot.incoming is None and slot.retry_at is None:
                slot.retry_at = now
        return self._flush(now)

    def reading_paused(self, now: float) -> list[Action]:
        """Nothing is read from any link from now on, so nothing follows from hearing nothing."""
        self._is_paused = True
        return self._flush(now)

    def reading_resumed(self, now: float) -> list[Action]:
        """Links are read again: every wait for something to arrive starts anew."""
        self._is_paused = False
        self._listening_from = now
        for link in self._links.values():
            link.heard_at = max(link.heard_at, now)
            link.ping_sent_at = None
            link.give_up_at = max(link.give_up_at, now + self._settings.server_grace_margin_seconds)
            link.subscriptions.restart_barrier_clock(now)
        return self.tick(now)

    # What happens to links.

    def link_opened(self, link_id: int, now: float) -> list[Action]:
        """The WebSocket handshake of a link is done."""
        link = self._links.get(link_id)
        if link is None or link.state is not LinkState.CONNECTING:
            return []
        slot = link.slot
        slot.incoming = None
        if slot.current is not None:
            slot.current.state = LinkState.REPLACED
            if slot.current.was_stable(now, self._settings):
                slot.forget_failures()
        slot.current = link
        link.state = LinkState.OPEN
        link.opened_at = link.heard_at = now
        wanted = (name for name in self._expectations if name not in self._rejected_until)
        link.subscriptions = LinkSubscriptions(link_id, self._settings, wanted, self._sign)
        for old in self._links.values():
            if old.slot is slot and old.state is LinkState.REPLACED:
                old.give_up_at = now + self._settings.overlap_max_seconds
                old.look_again_at = now
        opened = Notice(NoticeKind.LINK_OPENED, f"link {link_id} is open", link_id)
        return [opened, *self._bound_draining(), *self._flush(now)]

    def link_failed(self, link_id: int, reason: str, now: float) -> list[Action]:
        """A link could not be opened; `reason` is one line."""
        link = self._links.get(link_id)
        if link is None or link.state is not LinkState.CONNECTING:
            return []
        del self._links[link_id]
        link.slot.incoming = None
        delay = link.slot.schedule(now, at_once=False)
        message = f"link {link_id} did not open: {reason}; next try in {delay:.2f} s"
        return [Notice(NoticeKind.LINK_FAILED, message, link_id, retry_seconds=delay), *self._flush(now)]

    def link_lost(self, link_id: int, reason: str, now: float) -> list[Action]:
        """A link is gone; `reason` is one line."""
        link = self._links.get(link_id)
        if link is None or link.state is LinkState.CONNECTING:
            return self.link_failed(link_id, reason, now)
        del self._links[link_id]
        if link.state is not LinkState.OPEN:
            message = f"link {link_id} is gone as announced: {reason}"
            return [Notice(NoticeKind.LINK_DRAINED, message, link_id), *self._flush(now)]
        delay = self._vacate(link, now, at_once=False)
        message = f"link {link_id} was lost: {reason}" + _retry_words(delay)
        return [Notice(NoticeKind.LINK_LOST, message, link_id, retry_seconds=delay), *self._flush(now)]

    def server_close(self, link_id: int, code: int, reason: str, now: float) -> list[Action]:
        """The server sent its Close frame: bring up a new link, let the old one deliver as long as it does."""
        link = self._links.get(link_id)
        if link is None or link.state not in (LinkState.OPEN, LinkState.REPLACED):
            return []
        grace = self._settings.server_grace_seconds + self._settings.server_grace_margin_seconds
        link.give_up_at = now + grace
        delay = self._vacate(link, now, at_once=True) if link.state is LinkState.OPEN else None
        link.state = LinkState.CLOSING
        words = f" ({_shown(reason)})" if reason else ""
        message = f"the server closes link {link_id} with code {code}{words}" + _retry_words(delay)
        notice = Notice(NoticeKind.SERVER_CLOSE, message, link_id, code=code, retry_seconds=delay)
        return [notice, *self._bound_draining(), *self._flush(now)]

    def frame_seen(self, link_id: int, seen_at: float) -> None:
        """Data arrived on a link. Telling of the first and the latest arrival before each `tick` is enough."""
        link = self._links.get(link_id)
        if link is None or link.state is LinkState.CONNECTING:
            return
        if link.first_data_at is None:
            link.first_data_at = seen_at
        link.last_data_at = seen_at
        link.heard_at = max(link.heard_at, seen_at)

    def heard(self, link_id: int, heard_at: float) -> None:
        """Any frame, data or not, arrived on a link."""
        link = self._links.get(link_id)
        if link is not None:
            link.heard_at = max(link.heard_at, heard_at)

    def pong(self, link_id: int, payload: bytes, now: float) -> list[Action]:
        """A Pong arrived."""
        link = self._links.get(link_id)
        if link is None or link.state is LinkState.CONNECTING:
            return []
        link.heard_at = max(link.heard_at, now)
        link.ping_sent_at = None
        return [*self._judge(link, link.subscriptions.pong(payload), now), *self._flush(now)]

    def error_frame(self, link_id: int, code: int, message: str, now: float) -> list[Action]:
        """The exchange sent an error frame, such as 4006 `Invalid stream`."""
        link = self._links.get(link_id)
        if link is None:
            return []
        if link.state is LinkState.OPEN and link.subscriptions.error(code, _shown(message)):
            return []
        return self._unattributed_error(link_id, code, _shown(message), now)

    # What time brings.

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        if self._is_stopped:
            return []
        for name in [name for name, until in self._rejected_until.items() if now >= until]:
            del self._rejected_until[name]
            for subscriptions in self._open_subscriptions():
                subscriptions.add(name)
        actions: list[Action] = []
        if not self._is_paused:
            for link in list(self._links.values()):
                actions += self._check_link(link, now)
        return actions + self._flush(now)

    def check_silence(self, now: float, last_seen: Mapping[str, float]) -> list[Action]:
        """Find streams that should have delivered: each is subscribed anew and told about once until it recovers.

        Args:
            now: seconds of the session's clock.
            last_seen: when each stream delivered last, by the same clock; absent if it never did.
        """
        if self._is_stopped or self._is_paused:
            return []
        actions: list[Action] = []
        for change in self._silence.check(now, self._expectations, last_seen, self._listening_since):
            stream, seconds = change.stream, change.silent_seconds
            if not isinstance(change, FellSilent):
                message = f"{stream} delivers again after {seconds:.0f} s"
                actions.append(Notice(NoticeKind.STREAM_RECOVERED, message, stream=stream, silent_seconds=seconds))
                continue
            for subscriptions in self._open_subscriptions():
                subscriptions.resubscribe(stream)
            what = "has delivered nothing since it was subscribed" if change.never_delivered else "has gone silent"
            message = f"{stream} {what}, {seconds:.0f} s ago; subscribing it again"
            actions.append(
                Notice(
                    NoticeKind.STREAM_SILENT,
                    message,
                    stream=stream,
                    never_delivered=change.never_delivered,
                    silent_seconds=seconds,
                )
            )
        return actions + self._flush(now)

    def _deadlines(self) -> Iterator[float]:
        yield from self._rejected_until.values()
        for slot in self._slots:
            if slot.retry_at is not None and slot.incoming is None:
                yield slot.retry_at
        for link in self._links.values():
            if link.state is LinkState.OPEN:
                due_at = link.subscriptions.due_at(barriers=not self._is_paused)
                if due_at is not None:
                    yield due_at
            if self._is_paused:
                continue
            if link.state in (LinkState.OPEN, LinkState.REPLACED):
                yield link.liveness_due_at(self._settings)
            if link.state is LinkState.CLOSING:
                yield link.give_up_at
            if link.state is LinkState.REPLACED and link.slot.current is not None:
                yield link.look_again_at

    def _flush(self, now: float) -> list[Action]:
        if self._is_stopped:
            return []
        actions: list[Action] = []
        for slot in self._slots:
            if slot.retry_at is not None and slot.incoming is None and now >= slot.retry_at:
                actions += self._open(slot, now)
        for link in self._links.values():
            if link.state is LinkState.OPEN:
                actions += link.subscriptions.send(now)
                if link.settled_at is None and link.subscriptions.is_settled:
                    link.settled_at = now
        return actions

    def _open(self, slot: Slot, now: float) -> list[Action]:
        connects = self._connects
        if len(connects) == connects.maxlen and now < connects[0] + _MINUTE_SECONDS:
            slot.retry_at = connects[0] + _MINUTE_SECONDS
            if self._is_at_connect_limit:
                return []
            self._is_at_connect_limit = True
            delay = slot.retry_at - now
            message = f"{connects.maxlen} connects within a minute is the limit; next try in {delay:.0f} s"
            return [Notice(NoticeKind.CONNECT_LIMIT, message, retry_seconds=delay)]
        if len(connects) < self._settings.connects_per_minute_limit or now >= connects[0] + 2 * _MINUTE_SECONDS:
            self._is_at_connect_limit = False
        connects.append(now)
        slot.retry_at = None
        self._last_link_id += 1
        link = Link(self._last_link_id, slot, LinkSubscriptions(self._last_link_id, self._settings, ()))
        self._links[link.link_id] = slot.incoming = link
        return [OpenLink(link.link_id)]

    def _check_link(self, link: Link, now: float) -> list[Action]:
        link_id, settings = link.link_id, self._settings
        if link.state is LinkState.CLOSING:
            if now < link.give_up_at:
                return []
            grace = settings.server_grace_seconds + settings.server_grace_margin_seconds
            message = f"the server closed link {link_id} and did not drop it within {grace:.0f} s"
            return self._drop(link, NoticeKind.LINK_GRACE_OVER, message)
        if link.state is LinkState.REPLACED:
            link.look_again_at = now + _HANDOVER_POLL_SECONDS
            successor = link.slot.current
            if successor is not None and (now >= link.give_up_at or successor.has_taken_over(now, settings)):
                message = f"link {link_id} is replaced by link {successor.link_id}"
                return self._drop(link, NoticeKind.LINK_REPLACED, message)
        actions = self._check_liveness(link, now)
        if link.link_id in self._links and link.state is LinkState.OPEN:
            actions += self._judge(link, link.subscriptions.expire(now), now)
        return actions

    def _check_liveness(self, link: Link, now: float) -> list[Action]:
        due_at = link.liveness_due_at(self._settings)
        if link.state not in (LinkState.OPEN, LinkState.REPLACED) or now < due_at:
            return []
        is_unanswered = link.ping_sent_at is not None and link.heard_at <= link.ping_sent_at
        if not is_unanswered or now > due_at + _LATE_TICK_SECONDS:
            link.ping_sent_at = now
            return [SendPing(link.link_id, _LIVENESS_PAYLOAD)]
        was_open = link.state is LinkState.OPEN
        silent_seconds = now - link.heard_at
        message = f"link {link.link_id} is dead: nothing received for {silent_seconds:.0f} s, a Ping unanswered"
        dropped = self._drop(link, NoticeKind.LINK_DEAD, message)
        if was_open:
            self._vacate(link, now, at_once=True)
        return dropped

    def _vacate(self, link: Link, now: float, *, at_once: bool) -> float | None:
        """Take an open link out of its slot and plan its successor; give the delay, None if one is on its way."""
        slot = link.slot
        slot.current = None
        if link.was_stable(now, self._settings):
            slot.forget_failures()
        if slot.incoming is not None or slot.retry_at is not None:
            return None
        return slot.schedule(now, at_once=at_once)

    def _drop(self, link: Link, kind: NoticeKind, message: str) -> list[Action]:
        del self._links[link.link_id]
        actions: list[Action] = [Notice(kind, message, link.link_id), DropLink(link.link_id)]
        if link.state in DELIVERING and kind is not NoticeKind.LINK_DEAD:
            actions.insert(1, SendClose(link.link_id))
        return actions

    def _bound_draining(self) -> list[Action]:
        draining = [link for link in self._links.values() if link.state in DRAINING]
        surplus = draining[: max(0, len(draining) - self._settings.draining_links_limit)]
        message = "dropped early: too many links are draining"
        return [action for link in surplus for action in self._drop(link, NoticeKind.LINK_REPLACED, message)]

    def _judge(self, link: Link, verdicts: list[Verdict], now: float) -> list[Action]:
        actions: list[Action] = []
        for verdict in verdicts:
            if isinstance(verdict, Rejected):
                actions += self._reject(verdict, link.link_id, now)
            elif isinstance(verdict, SignatureRefused):
                actions += self._refuse(verdict, link.link_id, now)
            elif isinstance(verdict, Unanswered):
                message = f"link {link.link_id} leaves Pings unanswered; errors cannot be attributed to streams"
                actions.append(Notice(NoticeKind.BARRIER_UNANSWERED, message, link.link_id))
            else:
                actions += self._unattributed_error(link.link_id, verdict.code, verdict.message, now)
        return actions

    def _reject(self, verdict: Rejected, link_id: int, now: float) -> list[Action]:
        stream, retry = verdict.stream, self._settings.rejected_retry_seconds
        if stream not in self._expectations or stream in self._rejected_until:
            return []
        self._rejected_until[stream] = now + retry
        for subscriptions in self._open_subscriptions():
            subscriptions.reject(stream)
        message = f"the exchange rejects {stream} with {verdict.code} {verdict.message}; next try in {retry:.0f} s"
        code = verdict.code
        return [Notice(NoticeKind.STREAM_REJECTED, message, link_id, stream, code, retry_seconds=retry)]

    def _refuse(self, verdict: SignatureRefused, link_id: int, now: float) -> list[Action]:
        retry = self._settings.refused_signature_retry_seconds
        streams = [name for name in verdict.streams if name in self._expectations and name not in self._rejected_until]
        if not streams:
            return []
        for name in streams:
            self._rejected_until[name] = now + retry
            for subscriptions in self._open_subscriptions():
                subscriptions.reject(name)
        code, words = verdict.code, f"{verdict.code} {verdict.message}; next try in {retry:.0f} s"
        message = f"the exchange refuses the signature for {', '.join(streams)} with {words}"
        refused = Notice(NoticeKind.SIGNATURE_REFUSED, message, link_id, code=code, retry_seconds=retry)
        return [
            refused,
            *(
                Notice(
                    NoticeKind.STREAM_REJECTED,
                    f"the exchange refuses the signature for {name} with {words}",
                    link_id,
                    name,
                    code,
                    retry_seconds=retry,
                )
                for name in streams
            ),
        ]

    def _unattributed_error(self, link_id: int, code: int, message: str, now: float) -> list[Action]:
        noticed = self._unattributed
        if len(noticed) == noticed.maxlen and now < noticed[0] + _MINUTE_SECONDS:
            return []
        noticed.append(now)
        words = f"the exchange sent error {code} {message} on link {link_id}, for no request known here"
        return [Notice(NoticeKind.UNATTRIBUTED_ERROR, words, link_id, code=code)]

    def _open_subscriptions(self) -> list[LinkSubscriptions]:
        return [link.subscriptions for link in self._links.values() if link.state is LinkState.OPEN]

    def _listening_since(self, stream: str) -> float | None:
        times = [subscriptions.subscribed_at(stream) for subscriptions in self._open_subscriptions()]
        known = [time for time in times if time is not None]
        return max(min(known), self._listening_from) if known else None


def _retry_words(delay_seconds: float | None) -> str:
    return "" if delay_seconds is None else f"; a new one opens in {delay_seconds:.2f} s"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:_SHOWN_CHARACTERS])
