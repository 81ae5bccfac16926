"""Reacts to silence: resubscribes streams, renews sockets, and deactivates what is not delivered."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from backpack_streams.exchange.session_actions import Action, Cause, Notice, NoticeKind
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.session_sockets import DELIVERING, USEFUL, Socket, SocketState
from backpack_streams.exchange.silence import AskAgain, Change, FellSilent, Recovered, SilenceWatch
from backpack_streams.exchange.socket_pool import SocketPool

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

    def __init__(self, pool: SocketPool, silence: SilenceWatch) -> None:
        """Prepare. `pool` holds the sockets; `silence` tracks the streams that do not deliver."""
        self.listening_since = float("-inf")
        self._pool = pool
        self._silence = silence
        self._held_since: dict[str, float] = {}
        """Streams that would be active if their socket were not held, each with the time since which it was, or could have been, active."""

    def doubt(self, streams: Iterable[str], reason: str, now: float) -> list[Action]:
        """Mark these streams as not delivered.

        Args:
            streams: their names, each wanted.
            reason: one line for notices.
            now: the time.
        """
        return self._heal(self._silence.doubt(streams, reason, now), now)

    def check(self, now: float, expectations: Mapping[str, Expectation], deliveries: Mapping[str, int]) -> list[Action]:
        """Compare the deliveries with the expectations, and repair what does not deliver.

        Args:
            now: the time.
            expectations: what each wanted stream should deliver.
            deliveries: frames so far, by stream.
        """
        undivided_since = max(self.listening_since, self._pool.undivided_since)
        changes = self._silence.check(
            now, expectations, deliveries, self._subscribed_since(), undivided_since, self._is_confirmed
        )
        return self._heal(changes, now) + self._heal_silent_sockets(expectations, now)

    def _heal_silent_sockets(self, expectations: Mapping[str, Expectation], now: float) -> list[Action]:
        """Repair sockets that answer Pings and deliver nothing at all."""
        actions: list[Action] = []
        for socket in self._pool.in_state(*USEFUL):
            heard_at = max(
                socket.opened_at if socket.last_data_at is None else socket.last_data_at, self.listening_since
            )
            limits = [
                limit / _SILENCES_OF_ALL
                for name, confirmed_at in socket.subscriptions.confirmed.items()
                if (limit := self._clock_seconds(name, expectations[name])) is not None
                and now - max(heard_at, confirmed_at) > limit / _SILENCES_OF_ALL
            ]
            if not limits or (now < socket.heal_at and not socket.streams.since):
                continue
            socket.heal_at = now + (min(limits) if socket.silent_since is None else _ASK_ALL_AGAIN_SECONDS)
            for name, since in socket.streams.since.items():
                self._held_since.setdefault(name, since)
            actions += socket.fall_silent()
            actions += self._pool.renew_failing(socket, f"it has delivered nothing for {now - heard_at:.0f} s", now)
        return actions

    def expects_data(self, socket: Socket, expectations: Mapping[str, Expectation]) -> bool:
        """Whether data must come soon on a socket, since some of its streams are sent at fixed intervals."""
        return any(self._clock_seconds(name, expectations[name]) is not None for name in socket.subscriptions.wanted)

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
                    for socket in useful if change.was_failing else ():
                        at = _active_again(socket, change, now)
                        if at is not None:
                            active[socket.socket_id, at].append(stream)
                case AskAgain(stream):
                    for socket in useful:
                        _ask_again(socket, stream, is_failing=change.is_failing)
                    if change.is_failing and change.tries > _RENEW_AFTER_TRIES:
                        reason = f"{stream} does not deliver after {change.tries - 1} new subscriptions"
                        notices += self._pool.renew_one_failing(reason, now)
        delivered = self._silence.delivered_after(failing)
        actions: list[Action] = []
        for socket in self._pool.in_state(*DELIVERING) if failing else ():
            actions += socket.streams.deactivate(failing, Cause.SILENT, delivered)
        for (socket_id, at), streams in active.items():
            actions += self._pool.sockets[socket_id].streams.activate(streams, at)
        return actions + notices

    def _is_confirmed(self, stream: str) -> bool:
        return any(stream in socket.subscriptions.confirmed for socket in self._pool.in_state(*USEFUL))

    def _subscribed_since(self) -> dict[str, float]:
        """By stream: since when it has been active without a break on some socket, or held back on a silent one, while reading."""
        since: dict[str, float] = {}
        for socket in self._pool.in_state(*DELIVERING):
            for name, at in socket.streams.since.items():
                since[name] = min(at, since.get(name, at))
        before, self._held_since = self._held_since, {}
        for socket in self._pool.in_state(*USEFUL):
            for name in socket.subscriptions.wanted - since.keys() if socket.is_held else ():
                began_at = before.get(name)
                if began_at is None or began_at < self._pool.undivided_since:
                    began_at = socket.subscriptions.confirmed.get(name)
                if began_at is not None:
                    self._held_since[name] = min(began_at, self._held_since.get(name, began_at))
        since |= self._held_since
        return {name: max(at, self.listening_since) for name, at in since.items()}


def _active_again(socket: Socket, change: Recovered, now: float) -> float | None:
    """Since when a recovered stream is active on a socket; None if it is not."""
    confirmed_at = socket.subscriptions.confirmed.get(change.stream)
    if confirmed_at is None or not socket.is_held:
        return now if change.is_trusted and confirmed_at is not None else confirmed_at
    if change.is_trusted:
        socket.subscriptions.ask_anew(change.stream)
    return None  # the next Pong after data shows what is active on it


def _ask_again(socket: Socket, stream: str, *, is_failing: bool) -> None:
    if not is_failing:
        socket.subscriptions.ask_again(stream)
    elif socket.state is SocketState.OPEN:
        socket.subscriptions.resubscribe(stream)
    else:
        socket.subscriptions.distrust(stream)


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
