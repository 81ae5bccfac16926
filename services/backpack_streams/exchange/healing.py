"""Reacts to silence: resubscribes streams, renews sockets, and deactivates what is not delivered."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from backpack_streams.exchange.link_pool import LinkPool
from backpack_streams.exchange.session_actions import Action, Cause, Notice, NoticeKind
from backpack_streams.exchange.session_links import DELIVERING, USEFUL, Link, LinkState
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.silence import AskAgain, Change, FellSilent, Recovered, SilenceWatch

_SILENCES_OF_ALL = 3
"""All streams of a socket together may be silent for a third of the limit of one stream that is sent at fixed intervals."""
_ASK_ALL_AGAIN_SECONDS = 30.0
"""How often all streams of a silent socket are requested again, after the first time."""
_RENEW_AFTER_TRIES = 2
"""A stream that stays silent after so many new subscriptions gets a new socket."""


class Healing:
    """Repairs streams and sockets that do not deliver. Times are seconds of the session's clock.

    Attributes:
        listening_since: when reading last resumed after a pause.
    """

    def __init__(self, pool: LinkPool, silence: SilenceWatch) -> None:
        self.listening_since = float("-inf")
        self._pool = pool
        self._silence = silence
        self._held_since: dict[str, float] = {}
        """Streams that would be active if their socket were not held, each with the time since which it was, or could have been, active."""

    def doubt(self, streams: Iterable[str], reason: str, now: float) -> list[Action]:
        """Mark these streams as not delivered."""
        return self._heal(self._silence.doubt(streams, reason, now), now)

    def check(self, now: float, expectations: Mapping[str, Expectation], deliveries: Mapping[str, int]) -> list[Action]:
        """Compare what came with what was expected."""
        undivided_since = max(self.listening_since, self._pool.undivided_since)
        changes = self._silence.check(
            now, expectations, deliveries, self._subscribed_since(), undivided_since, self._is_confirmed
        )
        return self._heal(changes, now) + self._heal_silent_links(expectations, now)

    def _heal_silent_links(self, expectations: Mapping[str, Expectation], now: float) -> list[Action]:
        """Repair sockets that answer Pings and deliver nothing at all."""
        actions: list[Action] = []
        for link in self._pool.in_state(*USEFUL):
            heard_at = max(link.opened_at if link.last_data_at is None else link.last_data_at, self.listening_since)
            limits = [
                limit / _SILENCES_OF_ALL
                for name, confirmed_at in link.subscriptions.confirmed.items()
                if (limit := self._clock_seconds(name, expectations[name])) is not None
                and now - max(heard_at, confirmed_at) > limit / _SILENCES_OF_ALL
            ]
            if not limits or (now < link.heal_at and not link.streams.since):
                continue
            link.heal_at = now + (min(limits) if link.silent_since is None else _ASK_ALL_AGAIN_SECONDS)
            for name, since in link.streams.since.items():
                self._held_since.setdefault(name, since)
            actions += link.fall_silent()
            actions += self._pool.renew_failing(link, f"it has delivered nothing for {now - heard_at:.0f} s", now)
        return actions

    def expects_data(self, link: Link, expectations: Mapping[str, Expectation]) -> bool:
        """Whether data must come soon on a socket, since some of its streams are sent at fixed intervals."""
        return any(self._clock_seconds(name, expectations[name]) is not None for name in link.subscriptions.wanted)

    def _clock_seconds(self, stream: str, expectation: Expectation) -> float | None:
        """The longest pause of a stream that is sent at fixed intervals; None for any other, or for one that may not exist."""
        must_exist = expectation.first_delivery_seconds is not None or self._silence.has_delivered(stream)
        return expectation.max_silence_seconds if must_exist else None

    def _heal(self, changes: list[Change], now: float) -> list[Action]:
        """Carry out what follows from silence and from its end."""
        notices: list[Action] = []
        failing: list[str] = []
        active: defaultdict[tuple[int, float], list[str]] = defaultdict(list)
        useful = self._pool.in_state(*USEFUL)
        for change in changes:
            match change:
                case FellSilent(stream):
                    notices.append(_silent(change))
                    failing += [stream] if change.is_failing else []
                case Recovered(stream):
                    notices.append(_recovered(change))
                    for link in useful if change.was_failing else ():
                        at = _active_again(link, change, now)
                        if at is not None:
                            active[link.link_id, at].append(stream)
                case AskAgain(stream):
                    for link in useful:
                        _ask_again(link, stream, is_failing=change.is_failing)
                    if change.is_failing and change.tries > _RENEW_AFTER_TRIES:
                        reason = f"{stream} does not deliver after {change.tries - 1} new subscriptions"
                        notices += self._pool.renew_one_failing(reason, now)
        delivered = self._silence.delivered_after(failing)
        actions: list[Action] = []
        for link in self._pool.in_state(*DELIVERING) if failing else ():
            actions += link.streams.deactivate(failing, Cause.SILENT, delivered)
        for (link_id, at), streams in active.items():
            actions += self._pool.links[link_id].streams.activate(streams, at)
        return actions + notices

    def _is_confirmed(self, stream: str) -> bool:
        return any(stream in link.subscriptions.confirmed for link in self._pool.in_state(*USEFUL))

    def _subscribed_since(self) -> dict[str, float]:
        """By stream: since when it has been active without a break on some socket, or held back on a silent one, while reading."""
        since: dict[str, float] = {}
        for link in self._pool.in_state(*DELIVERING):
            for name, at in link.streams.since.items():
                since[name] = min(at, since.get(name, at))
        before, self._held_since = self._held_since, {}
        for link in self._pool.in_state(*USEFUL):
            for name in link.subscriptions.wanted - since.keys() if link.is_held else ():
                began_at = before.get(name)
                if began_at is None or began_at < self._pool.undivided_since:
                    began_at = link.subscriptions.confirmed.get(name)
                if began_at is not None:
                    self._held_since[name] = min(began_at, self._held_since.get(name, began_at))
        since |= self._held_since
        return {name: max(at, self.listening_since) for name, at in since.items()}


def _active_again(link: Link, change: Recovered, now: float) -> float | None:
    """Since when a recovered stream is active on a socket; None if it is not."""
    confirmed_at = link.subscriptions.confirmed.get(change.stream)
    if confirmed_at is None or not link.is_held:
        return now if change.is_trusted and confirmed_at is not None else confirmed_at
    if change.is_trusted:
        link.subscriptions.ask_anew(change.stream)
    return None  # the next Pong after data shows what is active on it


def _ask_again(link: Link, stream: str, *, is_failing: bool) -> None:
    if not is_failing:
        link.subscriptions.ask_again(stream)
    elif link.state is LinkState.OPEN:
        link.subscriptions.resubscribe(stream)
    else:
        link.subscriptions.distrust(stream)


def _silent(change: FellSilent) -> Notice:
    stream, seconds = change.stream, change.silent_seconds
    if change.reason is not None:
        words = f"does not deliver: {change.reason}"
    elif change.never_delivered:
        words = f"has delivered nothing since it was subscribed, {seconds:.0f} s ago"
    else:
        words = f"has gone silent, {seconds:.0f} s ago"
    return Notice(
        NoticeKind.STREAM_SILENT,
        f"{stream} {words}; subscribing it again",
        stream=stream,
        never_delivered=change.never_delivered,
        silent_seconds=seconds,
    )


def _recovered(change: Recovered) -> Notice:
    seconds = change.silent_seconds
    words = "is doubted no longer" if change.is_trusted else "delivers again"
    message = f"{change.stream} {words} after {seconds:.0f} s"
    return Notice(NoticeKind.STREAM_RECOVERED, message, stream=change.stream, silent_seconds=seconds)
