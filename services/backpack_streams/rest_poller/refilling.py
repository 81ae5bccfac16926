"""Decides which gaps to refill next, and tracks what is still missing. Sans I/O.

The gap topic is the work list: a gap adds its bounds, and a record with the reason REFILLED or REFILL_INCOMPLETE
removes them. Reading the topic from its beginning thus yields the open work.
"""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.streams import StreamKind, split_stream
from backpack_streams.publishing import reports
from backpack_streams.sequencing.spans import Span, Spans

TRADE: Final = "trade"
KLINE: Final = "kline"
REFILLED_CHANNELS: Final = (TRADE, KLINE)
CONFLATED_CHANNELS: Final = frozenset({"ticker", "markPrice", "openInterest"})
"""Streams whose last value is requested after an outage."""

FIRST_RETRY_SECONDS: Final = 0.3
LONGEST_RETRY_SECONDS: Final = 30.0
ANSWERS_AT_MOST: Final = 7
"""How many answers may lack a span before it counts as lost: REST may be some seconds behind the socket."""
SETTLED_SECONDS: Final = 10.0
"""How long after a time without coverage an answer can show that nothing was missed: REST may be behind the socket."""
_SPANS_A_STREAM = 1_000
FIRST_TRADE_ID: Final = 1
"""The first trade id of a sequence."""


@dataclass(frozen=True, slots=True)
class Refill:
    """Something to fetch.

    Attributes:
        stream: the name of the stream.
        span: ids of trades, or start times of candles (µs since the Unix epoch), from start to before end.
        due: when to fetch it (monotonic seconds).
        attempts: earlier attempts.
        answers: earlier answers that lacked it.
        is_open: whether the stream was not covered for a time, so that it is unknown which ids were missed, if any: all
            from the span's last id on, or none.
    """

    stream: str
    span: Span
    due: float
    attempts: int = 0
    answers: int = 0
    is_open: bool = False

    @property
    def kind(self) -> StreamKind:
        """The kind of the stream."""
        return split_stream(self.stream)[0]

    @property
    def symbol(self) -> str:
        """The market."""
        return split_stream(self.stream)[1] or ""

    @property
    def is_last_answer(self) -> bool:
        """Whether everything that the next answer lacks counts as lost."""
        return self.answers + 1 >= ANSWERS_AT_MOST


def span_of(gap: Mapping[str, Any]) -> Span | None:
    """Return the span between the bounds of a Gap record; None for streams without refills and for empty spans.

    If the next id is unknown, the span is the first id that may be missing; the exchange's answer shows how many
    follow. If the ids restarted, it begins with the first id of the new sequence.
    """
    kind, symbol = split_stream(gap["stream"])
    if not symbol:
        return None
    if kind.channel == TRADE:
        if gap["last_id"] is None:
            return None
        start = FIRST_TRADE_ID if gap["reason"] == reports.SEQUENCE_RESTARTED else gap["last_id"] + 1
        end = start + 1 if gap["next_id"] is None else gap["next_id"]
    elif kind.channel == KLINE:
        start, end = gap["last_time"], gap["next_time"]
        if start is None or end is None:
            return None
    else:
        return None
    return (start, end) if start < end else None


def is_open(gap: Mapping[str, Any]) -> bool:
    """Whether a gap states that a trade stream was not covered for a time, rather than that records are missing."""
    return (
        gap["next_id"] is None and gap.get("lost_records") is None and split_stream(gap["stream"])[0].channel == TRADE
    )


class RefillPlan:
    """The missing spans by stream. Each stream is fetched by one worker at a time. Times are monotonic seconds."""

    def __init__(self, rng: random.Random | None = None) -> None:
        """Prepare. `rng` randomizes the delays of retries."""
        self._missing: dict[str, Spans] = {}
        self._waiting: dict[str, Refill] = {}
        self._fetching: set[str] = set()
        self._open: dict[str, int] = {}
        """By stream, the first id that may have been missed while the stream was not covered."""
        self._asked: dict[str, deque[tuple[Span, float]]] = {}
        """By stream, the requested spans and when each was requested; removed once the oldest is closed."""
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, rng)

    def take(self, gap: Mapping[str, Any], now: float) -> bool:
        """Take a record of the gap topic. Returns whether it adds work.

        Args:
            gap: the Gap record.
            now: the time.
        """
        span = span_of(gap)
        if span is None:
            return False
        if gap["reason"] in reports.CLOSING_REASONS:
            self.closed(gap["stream"], span)
            return False
        if is_open(gap):
            self._open[gap["stream"]] = span[0]
        elif span[0] <= self._open.get(gap["stream"], -1) < span[1]:
            del self._open[gap["stream"]]  # now known to be missing
        self._missing.setdefault(gap["stream"], Spans(_SPANS_A_STREAM)).add(*span)
        asked = self._asked.setdefault(gap["stream"], deque())
        if len(asked) < _SPANS_A_STREAM:
            asked.append((span, now))
        self._ask(gap["stream"], now)
        return True

    def extend(self, stream: str, span: Span) -> None:
        """Note that the whole span was missed while the stream was not covered.

        Args:
            stream: the name of the stream.
            span: ids of trades, from start to before end.
        """
        self._open.pop(stream, None)
        if stream in self._missing:
            self._missing[stream].add(*span)

    def closed(self, stream: str, span: Span) -> None:
        """Note that nothing in the span is missing any more, or that the rest is unavailable.

        Args:
            stream: the name of the stream.
            span: ids of trades, or start times of candles (µs since the Unix epoch), from start to before end.
        """
        if span[0] <= self._open.get(stream, -1) < span[1]:
            del self._open[stream]
        missing = self._missing.get(stream)
        if missing is not None:
            missing.remove(*span)
            asked = self._asked[stream]
            while asked and missing.missing_in(*asked[0][0]) == [asked[0][0]]:  # the whole span is closed
                asked.popleft()
            if not missing:
                del self._missing[stream], self._asked[stream]
                self._waiting.pop(stream, None)

    def next(self, now: float, channel: str) -> Refill | None:
        """Return the refill of a channel that has been due longest, None if none is due."""
        due = [
            refill
            for refill in self._waiting.values()
            if refill.due <= now and refill.stream not in self._fetching and refill.kind.channel == channel
        ]
        if not due:
            return None
        chosen = min(due, key=lambda refill: refill.due)
        span = self._missing[chosen.stream].first()
        assert span is not None  # only streams with missing spans wait
        if chosen.span != span:  # another gap is first now: start counting its attempts
            chosen = Refill(chosen.stream, span, chosen.due)
        chosen = replace(chosen, is_open=self._open.get(chosen.stream) == span[1] - 1)
        del self._waiting[chosen.stream]
        self._fetching.add(chosen.stream)
        return chosen

    def next_due(self, channel: str) -> float | None:
        """Return when the next refill of a channel is due, None if there is none."""
        due = (
            refill.due
            for refill in self._waiting.values()
            if refill.stream not in self._fetching and refill.kind.channel == channel
        )
        return min(due, default=None)

    def done(self, refill: Refill, now: float) -> None:
        """Note that an attempt closed its span. The stream's next missing span becomes due."""
        self._fetching.discard(refill.stream)
        if refill.stream in self._missing:
            self._ask(refill.stream, now)

    def settles(self, refill: Refill, now: float) -> None:
        """Note that an attempt brought all that the exchange has, so that only an open span is left. It is requested once
        more after `SETTLED_SECONDS`.
        """
        self.failed(refill, now, had_answer=True)
        waiting = self._waiting.get(refill.stream)
        if waiting is not None:
            self._waiting[refill.stream] = replace(waiting, due=now + SETTLED_SECONDS, answers=ANSWERS_AT_MOST - 1)

    def failed(self, refill: Refill, now: float, had_answer: bool) -> None:
        """Note that an attempt did not close its span, and schedule the next one.

        Args:
            refill: the attempt.
            now: the time.
            had_answer: whether the exchange answered; such attempts are limited by `ANSWERS_AT_MOST`.
        """
        self._fetching.discard(refill.stream)
        missing = self._missing.get(refill.stream)
        if missing is None:
            return
        delay = self._backoff.delay_seconds(refill.attempts)
        span = missing.first() or refill.span
        self._waiting[refill.stream] = replace(
            refill,
            span=span,
            due=now + delay,
            attempts=refill.attempts + 1 if span[0] <= refill.span[0] else 0,
            answers=refill.answers + had_answer,
        )

    def open_spans(self, channel: str) -> int:
        """Return how many spans of a channel are missing."""
        return sum(len(each) for stream, each in self._missing.items() if split_stream(stream)[0].channel == channel)

    def oldest_open_seconds(self, channel: str, now: float) -> float:
        """Return how long the oldest of them has been known; 0 if there is none."""
        oldest = (
            asked[0][1] for stream, asked in self._asked.items() if asked and split_stream(stream)[0].channel == channel
        )
        return max(0.0, now - min(oldest, default=now))

    def _ask(self, stream: str, now: float) -> None:
        if stream not in self._waiting:
            self._waiting[stream] = Refill(stream, self._missing[stream].first() or (0, 0), now)
