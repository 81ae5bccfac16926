"""Keeps the wanted number of sockets up, and replaces a socket before it ends if possible."""

import random
from collections import deque
from collections.abc import Iterator

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.active_streams import ActiveStreams
from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.session_actions import Action, DropLink, Notice, NoticeKind, OpenLink, SendClose, shown
from backpack_streams.exchange.session_links import DELIVERING, DRAINING, Link, LinkState, Slot
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.subscriptions import LinkSubscriptions

_MINUTE_SECONDS = 60.0
_AGE_JITTER = 0.1


class LinkPool:
    """The sockets of a session. Times are seconds of the session's clock.

    Attributes:
        links: the sockets by id.
        undivided_since: when a socket last ended. Earlier data may have come on a socket that is gone.
    """

    def __init__(self, settings: SessionSettings, rng: random.Random | None = None) -> None:
        self.links: dict[int, Link] = {}
        self.undivided_since = float("-inf")
        self._settings = settings
        self._random = rng or random.Random()  # jitter spreads load; it guards no secret
        base, cap = settings.reconnect_base_seconds, settings.reconnect_cap_seconds
        self._slots = [Slot(Backoff(base, cap, rng)) for _ in range(settings.connections)]
        self._last_link_id = 0
        self._connects: deque[float] = deque(maxlen=settings.connects_per_minute_limit)
        self._is_at_connect_limit = False

    def in_state(self, *states: LinkState) -> list[Link]:
        """The sockets in one of these states."""
        return [link for link in self.links.values() if link.state in states]

    def deadlines(self, *, is_paused: bool) -> Iterator[float]:
        """When something is due. While reading is paused, only the opening of sockets is."""
        for slot in self._slots:
            if slot.retry_at is not None and slot.incoming is None:
                yield slot.retry_at
        for link in () if is_paused else self.in_state(*DELIVERING):
            yield link.liveness.due_at()
            if link.state is LinkState.CLOSING or (link.state is LinkState.REPLACED and link.slot.current is not None):
                yield link.give_up_at

    # Opening.

    def start(self, now: float) -> None:
        """Schedule the first sockets."""
        for slot in self._slots:
            slot.retry_at = now

    def open_due(self, now: float) -> list[Action]:
        """Open the sockets that are due."""
        due = [
            slot for slot in self._slots if slot.retry_at is not None and slot.incoming is None and now >= slot.retry_at
        ]
        return [action for slot in due for action in self._open(slot, now)]

    def opened(self, link: Link, now: float) -> list[Action]:
        """The handshake of a socket is complete: it becomes the current one; the previous one delivers until this one has taken over."""
        slot, settings = link.slot, self._settings
        slot.incoming = None
        if slot.current is not None:
            slot.current.state = LinkState.REPLACED
            if slot.current.was_stable(now, settings):
                slot.forget_failures()
        slot.current = link
        link.state = LinkState.OPEN
        link.opened_at = now
        link.renew_at = now + settings.max_link_age_seconds * self._random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)
        for old in self.in_state(LinkState.REPLACED):
            if old.slot is slot:
                old.give_up_at = now + settings.overlap_max_seconds
        opened = Notice(NoticeKind.LINK_OPENED, f"link {link.link_id} is open", link.link_id)
        return [opened, *self._bound_draining(now)]

    def failed(self, link: Link, reason: str, now: float) -> list[Action]:
        """A socket could not be opened."""
        del self.links[link.link_id]
        link.slot.incoming = None
        delay = link.slot.schedule(now, at_once=False)
        message = f"link {link.link_id} did not open: {reason}; next try in {delay:.2f} s"
        return [Notice(NoticeKind.LINK_FAILED, message, link.link_id, retry_seconds=delay)]

    # Replacing.

    def renew(self, link: Link, reason: str, now: float) -> list[Action]:
        """Open a successor for an open socket, which takes over before this one ends; do nothing if one is already coming."""
        if not link.is_lasting:
            return []
        link.slot.retry_at = now
        message = f"opening a successor of link {link.link_id}: {reason}"
        return [Notice(NoticeKind.LINK_RENEWAL, message, link.link_id)]

    def renew_all(self, reason: str, now: float) -> list[Action]:
        """Renew every open socket."""
        return [action for link in self.in_state(LinkState.OPEN) for action in self.renew(link, reason, now)]

    def renew_failing(self, link: Link, reason: str, now: float) -> list[Action]:
        """Renew a socket that does not deliver, unless that was tried too recently."""
        if not link.is_lasting or not link.slot.spend_renewal(now, self._settings):
            return []
        return self.renew(link, reason, now)

    def renew_one_failing(self, reason: str, now: float) -> list[Action]:
        """Renew the oldest open socket for which that was not tried too recently."""
        for link in sorted(self.in_state(LinkState.OPEN), key=lambda each: each.opened_at):
            if renewal := self.renew_failing(link, reason, now):
                return renewal
        return []

    def look_after(self, link: Link, now: float) -> list[Action]:
        """Do what is due for one socket: send a Ping, open a successor, or drop it."""
        settings, liveness, link_id = self._settings, link.liveness, link.link_id
        if link.state is LinkState.CLOSING and now >= link.give_up_at:
            grace = settings.server_grace_seconds + settings.server_grace_margin_seconds
            message = f"the server closed link {link_id} and did not drop it within {grace:.0f} s"
            return self.drop(link, NoticeKind.LINK_GRACE_OVER, message, now)
        actions: list[Action] = []
        if liveness.is_late(now):
            liveness.restart(now)
            link.subscriptions.restart_barrier_clock(now)
        unheard_seconds = liveness.unheard_seconds(now)
        if unheard_seconds >= settings.ping_reply_seconds and link.state is not LinkState.CLOSING:
            return self._bury(link, now)
        if unheard_seconds >= settings.ping_reply_seconds / 2:
            actions += self.renew(link, f"nothing received for {now - liveness.heard_at:.0f} s, a Ping unanswered", now)
        if liveness.is_mute(now):
            if not link.is_told_mute:
                link.is_told_mute = True
                message = f"link {link_id} leaves Pings unanswered: nothing on it can be confirmed"
                actions.append(Notice(NoticeKind.BARRIER_UNANSWERED, message, link_id))
            if link.state is LinkState.OPEN:
                actions += self.renew_failing(link, "it leaves Pings unanswered", now)
        if now >= link.renew_at:
            link.renew_at = float("inf")
            actions += self.renew(link, "it is old", now)
        if liveness.is_due(now):
            actions.append(liveness.ping(now)[1])
        return actions

    def drop_replaced(self, now: float) -> list[Action]:
        """Drop the sockets whose successor has taken over, or has taken too long."""
        actions: list[Action] = []
        for link in self.in_state(LinkState.REPLACED):
            successor = link.slot.current
            if successor is None:
                continue
            if now >= link.give_up_at and successor.is_held and link.streams.since:
                link.give_up_at = now + self._settings.overlap_max_seconds  # no other socket is known to deliver
            if now >= link.give_up_at or successor.covers_for(link, now, self._settings):
                message = f"link {link.link_id} is replaced by link {successor.link_id}"
                actions += self.drop(link, NoticeKind.LINK_REPLACED, message, now)
        return actions

    # Ending.

    def lost(self, link: Link, reason: str, now: float) -> list[Action]:
        """A socket that was open has ended."""
        gone = self._end(link, now)
        if link.state is not LinkState.OPEN:
            message = f"link {link.link_id} is gone as announced: {reason}"
            return [*gone, Notice(NoticeKind.LINK_DRAINED, message, link.link_id)]
        delay = self._vacate(link, now, at_once=False)
        message = f"link {link.link_id} was lost: {reason}" + _retry_words(delay)
        return [*gone, Notice(NoticeKind.LINK_LOST, message, link.link_id, retry_seconds=delay)]

    def closed_by_server(self, link: Link, code: int, reason: str, now: float) -> list[Action]:
        """The server sent its Close frame: open a new socket, and let the old one deliver as long as it does."""
        grace = self._settings.server_grace_seconds + self._settings.server_grace_margin_seconds
        link.give_up_at = now + grace
        delay = self._vacate(link, now, at_once=True) if link.state is LinkState.OPEN else None
        link.state = LinkState.CLOSING
        words = f" ({shown(reason)})" if reason else ""
        message = f"the server closes link {link.link_id} with code {code}{words}" + _retry_words(delay)
        notice = Notice(NoticeKind.SERVER_CLOSE, message, link.link_id, code=code, retry_seconds=delay)
        return [notice, *self._bound_draining(now)]

    def drop(self, link: Link, kind: NoticeKind, message: str, now: float) -> list[Action]:
        """End a socket."""
        actions: list[Action] = [*self._end(link, now), Notice(kind, message, link.link_id)]
        if link.state in DELIVERING and kind is not NoticeKind.LINK_DEAD:
            actions.append(SendClose(link.link_id))
        return [*actions, DropLink(link.link_id)]

    def _end(self, link: Link, now: float) -> list[Action]:
        del self.links[link.link_id]
        if link.state in DELIVERING:
            self.undivided_since = now
        return link.streams.end()

    def _bury(self, link: Link, now: float) -> list[Action]:
        silent_seconds = now - link.liveness.heard_at
        message = f"link {link.link_id} is dead: nothing received for {silent_seconds:.0f} s, a Ping unanswered"
        dropped = self.drop(link, NoticeKind.LINK_DEAD, message, now)
        if link.state is LinkState.OPEN:
            self._vacate(link, now, at_once=True)
        return dropped

    def _vacate(self, link: Link, now: float, *, at_once: bool) -> float | None:
        """Remove an open socket from its connection and schedule its successor. Returns the delay, None if one is already coming."""
        slot = link.slot
        slot.current = None
        if link.was_stable(now, self._settings):
            slot.forget_failures()
        if slot.incoming is not None or slot.retry_at is not None:
            return None
        return slot.schedule(now, at_once=at_once)

    def _bound_draining(self, now: float) -> list[Action]:
        draining = self.in_state(*DRAINING)
        surplus = draining[: max(0, len(draining) - self._settings.draining_links_limit)]
        message = "dropped early: too many links are draining"
        return [action for link in surplus for action in self.drop(link, NoticeKind.LINK_REPLACED, message, now)]

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
        self._last_link_id = link_id = self._last_link_id + 1
        liveness = Liveness(link_id, self._settings, now)
        subscriptions = LinkSubscriptions(link_id, self._settings, liveness, (), now)
        link = Link(link_id, slot, liveness, subscriptions, ActiveStreams(link_id))
        self.links[link_id] = slot.incoming = link
        return [OpenLink(link_id)]


def _retry_words(delay_seconds: float | None) -> str:
    return "" if delay_seconds is None else f"; a new one opens in {delay_seconds:.2f} s"
