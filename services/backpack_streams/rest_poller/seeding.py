"""Which books are to be fetched next, to seed them and to audit them, and whether a fetched one is of use. Sans I/O."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from backpack_streams.backoff import Backoff

FIRST_RETRY_SECONDS = 0.3
LONGEST_RETRY_SECONDS = 30.0
FRESH_SECONDS = 120.0
"""How long a published seed can make another one needless; bounded since a relisted market begins its ids anew."""
RECHECK_SECONDS = 30.0
"""How soon after a book was found wrong and seeded anew the next snapshot is taken, which shows whether it is right now."""
BEHIND_SECONDS = 60.0
"""How long older answers than before are taken for those of a server that is behind."""
UNFIT_SECONDS = 300.0
"""How soon a book is asked for again whose snapshot did not fit its record."""
SUSPICION_SPACING_SECONDS = 10.0
"""A snapshot taken more lately than that is answer enough to a suspicion."""


@dataclass(slots=True)
class SeedRequest:
    """A book that is wanted. `minimum_id`: a snapshot before it is of no use, since updates after it are missing."""

    symbol: str
    urgent: bool
    minimum_id: int | None
    due: float
    attempts: int = 0
    suspected: bool = False
    """An audit of this book was asked for."""
    open_since: float = inf
    """Since when a gap waits for this seed."""


class SeedPlan:
    """The books that are wanted, each at most once. Times are monotonic seconds."""

    def __init__(self, refresh_seconds: float, rng: random.Random | None = None) -> None:
        self._refresh_seconds = refresh_seconds
        self._waiting: dict[str, SeedRequest] = {}
        self._fetching: dict[str, SeedRequest] = {}
        self._open: dict[str, float] = {}
        self._minimum: dict[str, int | None] = {}
        self._published: dict[str, tuple[int, float]] = {}
        self._proving_from: dict[str, int] = {}
        """Where the topic of watermarks ended before the exchange was asked for the newest snapshot of a book."""
        self._behind_since: dict[str, float] = {}
        """Since when the exchange answers with older books than before, by market."""
        self._rechecks: set[str] = set()
        self._not_before_us: dict[str, int] = {}
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, rng)

    def set_open(self, symbols: Iterable[str], now: float) -> None:
        """These markets are open: each new one is wanted at once, the ones gone are forgotten."""
        symbols = list(symbols)
        for symbol in self._open.keys() - set(symbols):
            del self._open[symbol]
            self._published.pop(symbol, None)  # it may come back with ids that begin anew
            self._rechecks.discard(symbol)
            self._waiting.pop(symbol, None)
        for symbol in symbols:
            if symbol not in self._open:
                self._open[symbol] = now
                self._ask(SeedRequest(symbol, urgent=False, minimum_id=self._minimum.get(symbol), due=now))

    def gap(self, symbol: str, last_id: int | None, next_id: int | None, now: float) -> bool:
        """A gap is on record after `last_id` and before `next_id`: its book goes first.

        False for a market that is not open, and where a seed published a moment ago reaches past the gap already: at a start the
        seed and the first update race each other.
        """
        self.recall(symbol, last_id, next_id)
        if symbol not in self._open or self._is_covered(symbol, last_id, next_id, now):
            return False
        self._ask(SeedRequest(symbol, urgent=True, minimum_id=self._minimum[symbol], due=now, open_since=now))
        return True

    def found_wrong(self, symbol: str, last_id: int, now: float) -> bool:
        """An audit found the book wrong when it had reached `last_id`: a snapshot from there on seeds it anew, and the one after is soon.

        The market may be quiet, and still be there. False for a market that is not open.
        """
        if not self.gap(symbol, last_id - 1, None, now):
            return False
        self._rechecks.add(symbol)
        return True

    def found_beyond(self, symbol: str, found_us: int, now: float) -> bool:
        """An audit found that the topic goes past what the exchange has: any snapshot from now on seeds the book anew.

        False for a market that is not open.
        """
        self.recall_beyond(symbol, found_us)
        if symbol not in self._open:
            return False
        self._rechecks.add(symbol)
        self._ask(SeedRequest(symbol, urgent=True, minimum_id=None, due=now, open_since=now))
        return True

    def recall_beyond(self, symbol: str, found_us: int) -> None:
        """What the topic held at this time (µs, our clock) is not the exchange's: no reader is to start there."""
        self._minimum[symbol] = None
        self._published.pop(symbol, None)
        self._not_before_us[symbol] = found_us

    def not_before_us(self, symbol: str) -> int:
        """From when on the topic's updates of a market may follow on a snapshot; 0 for ever."""
        return self._not_before_us.get(symbol, 0)

    def suspect(self, symbol: str, now: float) -> bool:
        """A book is under suspicion: its next snapshot comes ahead of all but those that close gaps.

        False for a market that is not open, or whose snapshot was published a moment ago.
        """
        _, published_at = self._published.get(symbol, (0, -inf))
        if symbol not in self._open or now - published_at < SUSPICION_SPACING_SECONDS:
            return False
        self._ask(SeedRequest(symbol, False, self._minimum.get(symbol), due=now, suspected=True))
        return True

    def covered_anew(self, symbol: str, watermark_offset: int, now: float) -> bool:
        """The watermark at this offset says that a book's stream is covered anew: a snapshot from after it proves the book.

        False for a market that is not open, or that has such a snapshot already.
        """
        if symbol not in self._open or self._proving_from.get(symbol, -1) > watermark_offset:
            return False
        self._ask(SeedRequest(symbol, False, self._minimum.get(symbol), due=now, suspected=True))
        return True

    def recall(self, symbol: str, last_id: int | None, next_id: int | None) -> None:
        """The newest gap known: any snapshot fetched from now on has to reach its end."""
        known = self._minimum.get(symbol)
        if next_id is not None and last_id is not None and next_id <= last_id:  # the ids began anew
            self._published.pop(symbol, None)
        if next_id is not None:
            self._minimum[symbol] = next_id - 1
        elif last_id is not None:
            self._minimum[symbol] = max(last_id + 1, known or 0)
        else:
            self._minimum[symbol] = known

    def _is_covered(self, symbol: str, last_id: int | None, next_id: int | None, now: float) -> bool:
        published_id, published_at = self._published.get(symbol, (0, 0.0))
        went_back = next_id is None or (last_id is not None and next_id <= last_id)
        return (
            not went_back and next_id is not None and published_id >= next_id - 1 and now - published_at < FRESH_SECONDS
        )

    def next(self, now: float) -> SeedRequest | None:
        """The request whose turn it is: urgent ones first, then those under suspicion, then the one that has been due for longest."""
        due = [
            request for request in self._waiting.values() if request.due <= now and request.symbol not in self._fetching
        ]
        if not due:
            return None
        chosen = min(due, key=lambda request: (not request.urgent, not request.suspected, request.due))
        del self._waiting[chosen.symbol]
        self._fetching[chosen.symbol] = chosen
        return chosen

    def next_due(self) -> float | None:
        """When the next request is due."""
        return min(
            (request.due for request in self._waiting.values() if request.symbol not in self._fetching), default=None
        )

    def accepts(self, request: SeedRequest, last_update_id: int, now: float) -> bool:
        """Whether a snapshot reaches the end of the gap that it is to close, and is not older than one that was published before.

        A single answer may come from a server that is behind. Ids that stay below those of before for `BEHIND_SECONDS` have begun anew.
        """
        if request.minimum_id is not None and last_update_id < request.minimum_id:
            return False
        newest_id, _ = self._published.get(request.symbol, (0, -inf))
        if last_update_id >= newest_id:
            self._behind_since.pop(request.symbol, None)
            return True
        return now - self._behind_since.setdefault(request.symbol, now) >= BEHIND_SECONDS

    def least_id(self, request: SeedRequest) -> int:
        """The update id that a snapshot has to reach."""
        return max(request.minimum_id or 0, self._published.get(request.symbol, (0, -inf))[0])

    def recall_published(self, symbol: str, last_update_id: int) -> None:
        """The newest snapshot that the topic holds from before: how new answers have to be at the least."""
        self._published[symbol] = last_update_id, -inf

    def done(self, request: SeedRequest, last_update_id: int, now: float, watermark_offset: int | None = None) -> None:
        """The seed is published; the next one is due after the refresh interval. `watermark_offset`: as in its record."""
        self._fetching.pop(request.symbol, None)
        self._proving_from[request.symbol] = -1 if watermark_offset is None else watermark_offset
        self._published[request.symbol] = last_update_id, now
        interval = self._refresh_seconds or inf
        if request.urgent and request.symbol in self._rechecks:
            self._rechecks.discard(request.symbol)
            interval = min(interval, RECHECK_SECONDS)
        if request.symbol in self._open and interval < inf and request.symbol not in self._waiting:
            due = now + interval
            self._ask(SeedRequest(request.symbol, urgent=False, minimum_id=self._minimum.get(request.symbol), due=due))

    def put_off(self, request: SeedRequest, now: float) -> None:
        """What came can become no record, and what comes soon would not either: the book stays wanted, and is asked for seldom."""
        self._fetching.pop(request.symbol, None)
        if request.symbol in self._open and request.symbol not in self._waiting:
            request.due = now + UNFIT_SECONDS
            self._waiting[request.symbol] = request

    def failed(self, request: SeedRequest, now: float) -> float:
        """No usable snapshot came; returns the seconds until the next try."""
        self._fetching.pop(request.symbol, None)
        delay = self._backoff.delay_seconds(request.attempts)
        waiting = self._waiting.get(request.symbol)
        if waiting is not None:
            waiting.open_since = min(waiting.open_since, request.open_since)
        elif request.symbol in self._open:
            retry = SeedRequest(request.symbol, request.urgent, self._minimum.get(request.symbol), now + delay)
            retry.attempts = request.attempts + 1
            retry.suspected = request.suspected
            retry.open_since = request.open_since
            self._waiting[request.symbol] = retry
        return delay

    def open_requests(self) -> int:
        """Urgent books that are still wanted."""
        return sum(1 for each in (*self._waiting.values(), *self._fetching.values()) if each.urgent)

    def oldest_open_seconds(self, now: float) -> float:
        """For how long the gap that has waited for longest has waited for its seed; 0 while none does."""
        requests = (*self._waiting.values(), *self._fetching.values())
        return max(0.0, now - min((each.open_since for each in requests), default=inf))

    def _ask(self, request: SeedRequest) -> None:
        """A newer request replaces one that waits, but never makes it less urgent or later."""
        earlier = self._waiting.get(request.symbol)
        if earlier is not None:
            request.urgent = request.urgent or earlier.urgent
            request.suspected = request.suspected or earlier.suspected
            request.due = min(request.due, earlier.due)
            request.open_since = min(request.open_since, earlier.open_since)
        self._waiting[request.symbol] = request
