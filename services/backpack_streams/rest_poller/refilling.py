"""Which gaps are to be refilled next, and what of them is still missing. Sans I/O.

The gap topic is the work list: a gap puts its bounds on the list, and a record of reason REFILLED or REFILL_INCOMPLETE takes them off.
Who reads the topic from its beginning knows what is still to be done.
"""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.streams import StreamKind, split_stream
from backpack_streams.feed import reports
from backpack_streams.sequencing.spans import Span, Spans

TRADE: Final = "trade"
KLINE: Final = "kline"
REFILLED_CHANNELS: Final = (TRADE, KLINE)
CONFLATED_CHANNELS: Final = frozenset({"ticker", "markPrice", "openInterest"})
"""Streams of which the last value is worth asking for after an outage."""

FIRST_RETRY_SECONDS: Final = 0.3
LONGEST_RETRY_SECONDS: Final = 30.0
ANSWERS_AT_MOST: Final = 7
"""How many answers may lack what is asked for before it counts as lost: REST may be some seconds behind the socket."""
SETTLED_SECONDS: Final = 10.0
"""Of a time that nobody covered, an answer so long after it was known shows that nothing was missed: REST may be behind the socket."""
_SPANS_A_STREAM = 1_000


@dataclass(frozen=True, slots=True)
class Refill:
    """Something to fetch: ids of trades, or candles by their start (microseconds). `answers` came before and lacked it.

    `is_open`: nobody covered the stream for a time, and it is not known which ids were missed, nor whether any was: all from the last one
    of the span on, or none.
    """

    stream: str
    span: Span
    due: float
    attempts: int = 0
    answers: int = 0
    is_open: bool = False

    @property
    def kind(self) -> StreamKind:
        """What the stream carries."""
        return split_stream(self.stream)[0]

    @property
    def symbol(self) -> str:
        """The market."""
        return split_stream(self.stream)[1] or ""

    @property
    def is_last_answer(self) -> bool:
        """Whether what this attempt's answer lacks is given up."""
        return self.answers + 1 >= ANSWERS_AT_MOST


def span_of(gap: Mapping[str, Any]) -> Span | None:
    """What is missing between the bounds of a Gap record; None for streams that are not refilled and for bounds of nothing.

    Where the next id is not known the first trade that may be missing stands for all; what the exchange has says how many they are.
    """
    kind, symbol = split_stream(gap["stream"])
    if not symbol:
        return None
    if kind.channel == TRADE:
        if gap["last_id"] is None:
            return None
        start = gap["last_id"] + 1
        end = start + 1 if gap["next_id"] is None else gap["next_id"]
    elif kind.channel == KLINE:
        start, end = gap["last_time"], gap["next_time"]
        if start is None or end is None:
            return None
    else:
        return None
    return (start, end) if start < end else None


def is_open(gap: Mapping[str, Any]) -> bool:
    """Whether a gap says that nobody covered a stream of trades for a time, and not that something is missing."""
    return (
        gap["next_id"] is None and gap.get("lost_records") is None and split_stream(gap["stream"])[0].channel == TRADE
    )


class RefillPlan:
    """What is missing, by stream; each stream is fetched by one at a time. Times are monotonic seconds."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._missing: dict[str, Spans] = {}
        self._waiting: dict[str, Refill] = {}
        self._fetching: set[str] = set()
        self._open: dict[str, int] = {}
        """By stream, the first id that may have been missed in a time that nobody covered."""
        self._asked: dict[str, deque[tuple[Span, float]]] = {}
        """By stream, what was asked for and when; it goes when the oldest is closed."""
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, rng)

    def take(self, gap: Mapping[str, Any], now: float) -> bool:
        """A record of the gap topic. True if it asks for something."""
        span = span_of(gap)
        if span is None:
            return False
        if gap["reason"] in reports.CLOSING_REASONS:
            self.closed(gap["stream"], span)
            return False
        if is_open(gap):
            self._open[gap["stream"]] = span[0]
        elif span[0] <= self._open.get(gap["stream"], -1) < span[1]:
            del self._open[gap["stream"]]  # now it is known to be missing
        self._missing.setdefault(gap["stream"], Spans(_SPANS_A_STREAM)).add(*span)
        asked = self._asked.setdefault(gap["stream"], deque())
        if len(asked) < _SPANS_A_STREAM:
            asked.append((span, now))
        self._ask(gap["stream"], now)
        return True

    def extend(self, stream: str, span: Span) -> None:
        """All of this was missed in a time that nobody covered."""
        self._open.pop(stream, None)
        if stream in self._missing:
            self._missing[stream].add(*span)

    def closed(self, stream: str, span: Span) -> None:
        """Nothing is missing any more between these bounds, or nothing that can be had."""
        if span[0] <= self._open.get(stream, -1) < span[1]:
            del self._open[stream]
        missing = self._missing.get(stream)
        if missing is not None:
            missing.remove(*span)
            asked = self._asked[stream]
            while asked and missing.missing_in(*asked[0][0]) == [asked[0][0]]:  # nothing of it is missing any more
                asked.popleft()
            if not missing:
                del self._missing[stream], self._asked[stream]
                self._waiting.pop(stream, None)

    def next(self, now: float, channel: str) -> Refill | None:
        """What is to be fetched now of a channel: what has been due for longest."""
        due = [
            refill
            for refill in self._waiting.values()
            if refill.due <= now and refill.stream not in self._fetching and refill.kind.channel == channel
        ]
        if not due:
            return None
        chosen = min(due, key=lambda refill: refill.due)
        span = self._missing[chosen.stream].first()
        assert span is not None  # a stream with nothing missing does not wait
        if chosen.span != span:  # another gap is the first one by now: its patience begins anew
            chosen = Refill(chosen.stream, span, chosen.due)
        chosen = replace(chosen, is_open=self._open.get(chosen.stream) == span[1] - 1)
        del self._waiting[chosen.stream]
        self._fetching.add(chosen.stream)
        return chosen

    def next_due(self, channel: str) -> float | None:
        """When something of a channel is due."""
        due = (
            refill.due
            for refill in self._waiting.values()
            if refill.stream not in self._fetching and refill.kind.channel == channel
        )
        return min(due, default=None)

    def done(self, refill: Refill, now: float) -> None:
        """The attempt closed its span; what else is missing of the stream comes next."""
        self._fetching.discard(refill.stream)
        if refill.stream in self._missing:
            self._ask(refill.stream, now)

    def settles(self, refill: Refill, now: float) -> None:
        """The attempt brought all that the exchange has, and only a time that nobody covered is left: it is asked about once more."""
        self.failed(refill, now, had_answer=True)
        waiting = self._waiting.get(refill.stream)
        if waiting is not None:
            self._waiting[refill.stream] = replace(waiting, due=now + SETTLED_SECONDS, answers=ANSWERS_AT_MOST - 1)

    def failed(self, refill: Refill, now: float, had_answer: bool) -> None:
        """The attempt did not: it is made again later, with `had_answer` only so many times."""
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
        """Gaps of a channel that are still to be refilled."""
        return sum(len(each) for stream, each in self._missing.items() if split_stream(stream)[0].channel == channel)

    def oldest_open_seconds(self, channel: str, now: float) -> float:
        """For how long the oldest of them has been known; 0 while there is none."""
        oldest = (
            asked[0][1] for stream, asked in self._asked.items() if asked and split_stream(stream)[0].channel == channel
        )
        return max(0.0, now - min(oldest, default=now))

    def _ask(self, stream: str, now: float) -> None:
        if stream not in self._waiting:
            self._waiting[stream] = Refill(stream, self._missing[stream].first() or (0, 0), now)
