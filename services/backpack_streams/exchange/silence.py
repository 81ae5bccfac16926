"""Detects streams that should deliver and do not, and decides when each is requested again.

The exchange answers an unknown or closed symbol with silence, and may lose a subscription. Silence is judged for the present subscription;
messages of an earlier one prove nothing about it.

A stream with `max_silence_seconds` is sent at fixed intervals, so its silence proves that it is not delivered, until it delivers again. The
same holds for a doubt of the owner, which saw on other streams that this one must have had something to send. Any other stream may simply
be quiet: it is requested again, and its present subscription stays in place.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from backpack_streams.exchange.session_settings import Expectation, SessionSettings


@dataclass(frozen=True, slots=True)
class FellSilent:
    """A stream has been silent for longer than expected; reported once until it delivers again.

    Attributes:
        stream: its name.
        never_delivered: whether it has never delivered.
        silent_seconds: how long it has been silent (seconds).
        is_failing: whether it is known not to be delivered; otherwise it may be quiet.
        reason: why the owner doubts it, None if it was found silent.
    """

    stream: str
    never_delivered: bool
    silent_seconds: float
    is_failing: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """A silent stream delivers again or is no longer doubted.

    Attributes:
        stream: its name.
        silent_seconds: how long it was silent (seconds).
        was_failing: whether it was known not to be delivered.
        is_trusted: whether it is no longer doubted although it has not delivered.
    """

    stream: str
    silent_seconds: float
    was_failing: bool
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class AskAgain:
    """A stream is due to be requested again: a failing one by a new subscription, any other by repeating the SUBSCRIBE.

    Attributes:
        stream: its name.
        is_failing: whether it is known not to be delivered.
        tries: the number of this try since the stream fell silent.
    """

    stream: str
    is_failing: bool
    tries: int


Change = FellSilent | Recovered | AskAgain


@dataclass(slots=True)
class _Episode:
    """A time in which a stream is not delivered, or may not be."""

    since: float
    is_failing: bool
    is_told: bool
    is_doubted: bool = False
    tries: int = 0
    next_try_at: float = float("-inf")
    confirmed_at: float | None = None
    """When the new subscription was confirmed."""
    disputed_at: float = float("-inf")
    """When it was doubted again."""


@dataclass(slots=True)
class _Watched:
    """A stream's frame count at the last look, and the time of its newest frame: after `seen_after`, and at `seen_at` at the latest."""

    count: int
    seen_after: float | None = None
    seen_at: float | None = None
    episode: _Episode | None = None


class SilenceWatch:
    """Tracks what streams deliver, and their episodes of silence. Times are seconds of one monotonic clock."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._watched: dict[str, _Watched] = {}
        self._deliveries: Mapping[str, int] = {}
        self._looked_at = float("-inf")

    @property
    def silent(self) -> frozenset[str]:
        """Streams reported as silent that have not recovered."""
        return frozenset(name for name, watched in self._watched.items() if watched.episode and watched.episode.is_told)

    def is_failing(self, stream: str) -> bool:
        """Whether a stream is known not to be delivered."""
        watched = self._watched.get(stream)
        return watched is not None and watched.episode is not None and watched.episode.is_failing

    def has_delivered(self, stream: str) -> bool:
        """Whether a stream has ever delivered."""
        watched = self._watched.get(stream)
        return watched is not None and watched.seen_at is not None

    def delivered_after(self, streams: Iterable[str]) -> dict[str, float]:
        """By stream, a moment after which its last frame came; streams that never delivered are absent."""
        found = {name: self._watched[name].seen_after for name in streams if name in self._watched}
        return {name: at for name, at in found.items() if at is not None}

    def add(self, stream: str) -> None:
        """Watch a stream from now on."""
        self._watched[stream] = _Watched(self._deliveries.get(stream, 0))

    def forget(self, stream: str) -> None:
        """Stop watching a stream."""
        self._watched.pop(stream, None)

    def end_episode(self, stream: str) -> None:
        """End the stream's episode: it is not requested at present, so its silence means nothing."""
        if stream in self._watched:
            self._watched[stream].episode = None

    def confirmed(self, stream: str, now: float) -> None:
        """A subscription of a failing stream was confirmed: frames from now on show that it works."""
        watched = self._watched[stream]
        self._look(stream, watched, now)
        if watched.episode is not None and watched.episode.confirmed_at is None:
            watched.episode.confirmed_at = now
            watched.episode.next_try_at = max(watched.episode.next_try_at, now + self._settings.heal_base_seconds)

    def doubt(self, streams: Iterable[str], reason: str, now: float) -> list[Change]:
        """Mark streams, each active now or failing, as not delivered.

        Args:
            streams: their names.
            reason: one line for notices.
            now: the time.
        """
        changes: list[Change] = []
        for stream in streams:
            watched = self._watched[stream]
            if watched.episode is not None and watched.episode.is_failing:
                watched.episode.disputed_at = now  # the new subscription does not deliver either
                continue
            self._look(stream, watched, now)
            watched.episode = _Episode(now, is_failing=True, is_told=True, is_doubted=True)
            silent_seconds = 0.0 if watched.seen_at is None else now - watched.seen_at
            changes.append(FellSilent(stream, watched.seen_at is None, silent_seconds, True, reason))
            changes.append(self._try(stream, watched.episode, now))
        return changes

    def check(
        self,
        now: float,
        expectations: Mapping[str, Expectation],
        deliveries: Mapping[str, int],
        active_since: Mapping[str, float],
        undivided_since: float,
        is_confirmed: Callable[[str], bool],
    ) -> list[Change]:
        """Compare what came with what was expected.

        Args:
            now: present time.
            expectations: what each wanted stream should deliver.
            deliveries: frames so far by stream; kept, and read again between two checks.
            active_since: since when each stream has been active on the present sockets while these were read.
            undivided_since: since when no socket has ended. Earlier frames may have come on a socket that is gone.
            is_confirmed: whether the subscription of a stream is confirmed on some socket.
        """
        self._deliveries = deliveries
        changes: list[Change] = []
        for stream, expectation in expectations.items():
            watched = self._watched[stream]
            has_come = self._look(stream, watched, now)
            since = active_since.get(stream)
            anew_since = None if since is None else max(since, undivided_since)
            if watched.episode is not None and watched.episode.is_failing and not is_confirmed(stream):
                watched.episode.confirmed_at = None
            if watched.episode is not None:
                changes += self._follow(stream, watched, watched.episode, has_come, expectation, anew_since, now)
            elif since is not None and anew_since is not None and not has_come:
                changes += self._judge(stream, watched, expectation, since, anew_since, now)
        self._looked_at = now
        return changes

    def _look(self, stream: str, watched: _Watched, now: float) -> bool:
        count, before = self._deliveries.get(stream, 0), watched.count
        watched.count = count
        if count == before or not count:  # nothing came, or the owner restarted its count
            return False
        watched.seen_after, watched.seen_at = self._looked_at, now
        return True

    def _follow(
        self,
        stream: str,
        watched: _Watched,
        episode: _Episode,
        has_come: bool,
        expectation: Expectation,
        anew_since: float | None,
        now: float,
    ) -> list[Change]:
        """Continue or end an episode."""
        is_over, may_try = has_come, anew_since is not None
        if episode.is_failing:
            confirmed_at = episode.confirmed_at
            may_try = confirmed_at is not None
            is_over = confirmed_at is not None and (
                has_come or self._may_trust(episode, confirmed_at, expectation, now)
            )
        elif anew_since is not None and anew_since > episode.since and not episode.is_told:
            is_over = True  # another subscription, with its own wait
        if is_over:
            watched.episode = None
            silent_seconds = now - episode.since
            return [Recovered(stream, silent_seconds, episode.is_failing, not has_come)] if episode.is_told else []
        return [self._try(stream, episode, now)] if may_try and now >= episode.next_try_at else []

    def _may_trust(self, episode: _Episode, confirmed_at: float, expectation: Expectation, now: float) -> bool:
        """Whether a doubt is outdated: a market that is quiet from now on can neither deliver nor be doubted."""
        is_by_the_clock = expectation.max_silence_seconds is not None
        since = max(confirmed_at, episode.disputed_at)
        return episode.is_doubted and not is_by_the_clock and now >= since + self._settings.trust_again_seconds

    def _judge(
        self,
        stream: str,
        watched: _Watched,
        expectation: Expectation,
        since: float,
        anew_since: float,
        now: float,
    ) -> list[Change]:
        """Decide whether an episode begins."""
        never_delivered = watched.seen_at is None
        is_by_the_clock = expectation.max_silence_seconds is not None
        if watched.seen_at is None:
            start, limit = since, expectation.first_delivery_seconds
        elif is_by_the_clock:
            start, limit = max(since, watched.seen_at), expectation.max_silence_seconds
        elif watched.seen_after is not None and watched.seen_after < anew_since:
            start, limit = anew_since, expectation.first_delivery_seconds
        else:
            return []
        if limit is None or now - start <= limit:
            return []
        is_told = never_delivered or is_by_the_clock
        episode = watched.episode = _Episode(start, is_failing=is_by_the_clock, is_told=is_told)
        told = [FellSilent(stream, never_delivered, now - start, is_by_the_clock)] if is_told else []
        return [*told, self._try(stream, episode, now)]

    def _try(self, stream: str, episode: _Episode, now: float) -> AskAgain:
        settings = self._settings
        wait_seconds = min(settings.heal_cap_seconds, settings.heal_base_seconds * 2.0 ** min(episode.tries, 62))
        episode.tries += 1
        episode.next_try_at = now + wait_seconds
        if episode.is_failing:
            episode.confirmed_at = None
        return AskAgain(stream, episode.is_failing, episode.tries)
