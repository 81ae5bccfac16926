"""Notices streams that should deliver and do not, and says when each is asked for again.

The exchange answers an unknown or closed symbol with silence, and a subscription may be lost on its side. Silence is judged for the
present subscription: what came on an earlier one says nothing about it.

A stream with `max_silence_seconds` is sent by the clock, so its silence is evidence: it is not delivered, until it is again. So is a
doubt of the owner, who saw by other streams that this one must have had something to say. For all other streams silence may be the
truth: they are asked for again, without taking the present subscription from them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from backpack_streams.exchange.session_settings import Expectation, SessionSettings


@dataclass(frozen=True, slots=True)
class FellSilent:
    """A stream is silent for longer than expected; told once until it delivers again."""

    stream: str
    never_delivered: bool
    silent_seconds: float
    is_failing: bool
    """It is known not to be delivered; else it may just be quiet."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """A stream that was silent delivers again or, with `is_trusted`, is doubted no longer."""

    stream: str
    silent_seconds: float
    was_failing: bool
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Subscribe a stream again; a failing one anew, any other by repeating the SUBSCRIBE."""

    stream: str
    is_failing: bool
    tries: int
    """Which one since it fell silent."""


Change = FellSilent | Recovered | AskAgain


@dataclass(slots=True)
class _Episode:
    """A stream is not delivered, or may not be."""

    since: float
    is_failing: bool
    is_told: bool
    is_doubted: bool = False
    tries: int = 0
    next_try_at: float = float("-inf")
    confirmed_at: float | None = None
    """When the subscription that was asked for anew was confirmed."""
    disputed_at: float = float("-inf")
    """When it was doubted again."""


@dataclass(slots=True)
class _Watched:
    """How much a stream had delivered at the last look, and when it did: after `seen_after`, and at `seen_at` at the latest."""

    count: int
    seen_after: float | None = None
    seen_at: float | None = None
    episode: _Episode | None = None


class SilenceWatch:
    """Remembers what streams deliver, and which are in an episode of silence. Times are seconds of one monotonic clock."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._watched: dict[str, _Watched] = {}
        self._deliveries: Mapping[str, int] = {}
        self._looked_at = float("-inf")

    @property
    def silent(self) -> frozenset[str]:
        """Streams that were told of and have not recovered."""
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
        """Moments after which each stream delivered last, absent for those that never did."""
        found = {name: self._watched[name].seen_after for name in streams if name in self._watched}
        return {name: at for name, at in found.items() if at is not None}

    def add(self, stream: str) -> None:
        """Watch a stream from now on."""
        self._watched[stream] = _Watched(self._deliveries.get(stream, 0))

    def forget(self, stream: str) -> None:
        """Watch a stream no longer."""
        self._watched.pop(stream, None)

    def end_episode(self, stream: str) -> None:
        """The stream is not asked for at present, so that it does not deliver means nothing."""
        if stream in self._watched:
            self._watched[stream].episode = None

    def confirmed(self, stream: str, now: float) -> None:
        """A subscription of a failing stream was confirmed: what it delivers from now on shows that it is well."""
        watched = self._watched[stream]
        self._look(stream, watched, now)
        if watched.episode is not None and watched.episode.confirmed_at is None:
            watched.episode.confirmed_at = now
            watched.episode.next_try_at = max(watched.episode.next_try_at, now + self._settings.heal_base_seconds)

    def doubt(self, streams: Iterable[str], reason: str, now: float) -> list[Change]:
        """These streams, each active now or failing, do not deliver what they should."""
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
            now: current time.
            expectations: what each wanted stream should deliver.
            deliveries: frames so far by stream; kept, and read again between two checks.
            active_since: since when each stream is active on the links there are, and these are read.
            undivided_since: since when no link has ended: what came before may have come on another one than there is now.
            is_confirmed: whether the subscription of a stream is confirmed on some link.
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
        if count == before or not count:  # nothing came, or the owner counts anew
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
        """What becomes of an episode."""
        is_over, may_try = has_come, anew_since is not None
        if episode.is_failing:
            confirmed_at = episode.confirmed_at
            may_try = confirmed_at is not None
            is_over = confirmed_at is not None and (
                has_come or self._may_trust(episode, confirmed_at, expectation, now)
            )
        elif anew_since is not None and anew_since > episode.since and not episode.is_told:
            is_over = True  # another subscription, with a wait of its own
        if is_over:
            watched.episode = None
            silent_seconds = now - episode.since
            return [Recovered(stream, silent_seconds, episode.is_failing, not has_come)] if episode.is_told else []
        return [self._try(stream, episode, now)] if may_try and now >= episode.next_try_at else []

    def _may_trust(self, episode: _Episode, confirmed_at: float, expectation: Expectation, now: float) -> bool:
        """Whether a doubt is old: a market that is quiet from now on can neither deliver nor be doubted."""
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
        """Whether an episode begins."""
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
