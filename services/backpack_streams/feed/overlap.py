"""How long a producer's first messages wait for what another one, which is about to leave, still brings before them. Sans I/O."""

from collections.abc import Mapping

LONGEST_SECONDS = 5.0
QUIET_SECONDS = 1.0
"""How long nothing may come from another producer before it is taken to be gone."""


class Overlap:
    """`first_ids`: the id that each of our streams begins with. Times are seconds of the caller's clock."""

    def __init__(self, first_ids: Mapping[str, int], now: float) -> None:
        self._first_ids = first_ids
        self._give_up_at = now + LONGEST_SECONDS
        self._quiet_at = now + QUIET_SECONDS
        self._missing: dict[str, int] = {}

    def waits(self, last_ids: Mapping[str, int], now: float) -> bool:
        """Whether to look again: `last_ids` are the last ones that Kafka holds, of streams of which it holds any."""
        before = self._missing
        self._missing = {
            name: last_id for name, last_id in last_ids.items() if last_id + 1 < self._first_ids.get(name, 0)
        }
        if before and self._missing != before:
            self._quiet_at = now + QUIET_SECONDS
        return bool(self._missing) and now < min(self._give_up_at, self._quiet_at)
