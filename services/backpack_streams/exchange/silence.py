"""Notices streams that should deliver and do not: the exchange answers an unknown or closed symbol with silence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backpack_streams.exchange.session_settings import Expectation


@dataclass(frozen=True, slots=True)
class FellSilent:
    """A stream is silent for longer than expected; told once until it delivers again."""

    stream: str
    never_delivered: bool
    silent_seconds: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """A stream that was silent delivers again."""

    stream: str
    silent_seconds: float


class SilenceWatch:
    """Remembers which streams are in an episode of silence. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._silent_since: dict[str, float] = {}

    @property
    def silent(self) -> frozenset[str]:
        """Streams that should deliver and have not done so for longer than expected."""
        return frozenset(self._silent_since)

    def forget(self, stream: str) -> None:
        """End the episode of a stream that is wanted no more."""
        self._silent_since.pop(stream, None)

    def check(
        self,
        now: float,
        expectations: Mapping[str, Expectation],
        last_seen: Mapping[str, float],
        listening_since: Callable[[str], float | None],
    ) -> list[FellSilent | Recovered]:
        """Compare what came with what was expected.

        Args:
            now: current time.
            expectations: what each wanted stream should deliver.
            last_seen: when each stream delivered last; absent if it never did.
            listening_since: since when a stream is subscribed and read without a break, None if it is not.
        """
        changes: list[FellSilent | Recovered] = []
        for stream, expectation in expectations.items():
            seen_at = last_seen.get(stream)
            silent_since = self._silent_since.get(stream)
            if silent_since is not None:
                if seen_at is not None and seen_at > silent_since:
                    del self._silent_since[stream]
                    changes.append(Recovered(stream, seen_at - silent_since))
                continue
            limit = expectation.first_delivery_seconds if seen_at is None else expectation.max_silence_seconds
            if limit is None:
                continue
            since = listening_since(stream)
            if since is None:
                continue
            start = since if seen_at is None else max(since, seen_at)
            if now - start > limit:
                self._silent_since[stream] = start
                changes.append(FellSilent(stream, seen_at is None, now - start))
        return changes
