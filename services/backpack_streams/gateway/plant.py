"""What Kafka tells about the plant: topics, producers, gaps, audits, services. Sans I/O."""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

from backpack_streams.gateway.answers import Row
from backpack_streams.publishing.reports import CLOSING_REASONS, REFILL_INCOMPLETE
from backpack_streams.rest_poller.refilling import span_of
from backpack_streams.sequencing.spans import Span, Spans

__all__ = ["Plant"]

_KEPT: Final = 50
"""Number of gaps and audits that are listed."""
_GAPS_KEPT: Final = 2_000
_HOUR_MICROS: Final = 3_600_000_000
_GONE_MICROS: Final = 600_000_000
"""A producer whose last watermark is older is no longer listed."""
_NAMED: Final = 20
"""Maximum number of streams named per producer."""
_RATE_SECONDS: Final = 10.0
_SPANS_A_STREAM: Final = 1_000
_NO_LOSS: Final = frozenset({"STREAM_START", "AUDIT_MISMATCH", "COVERAGE_DISPROVED"})
_MICROS: Final = 1_000_000


class Plant:
    """Accepts the records of `ops.*` and the ends of topics. Times are µs since the Unix epoch, by the clock of the record's writer."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._producers: OrderedDict[str, _Producer] = OrderedDict()
        self._gaps: deque[_Gap] = deque(maxlen=_GAPS_KEPT)
        self._missing: dict[str, Spans] = {}
        """By stream, what is still to be fetched from REST: ids of trades, start times of candles."""
        self._lost: dict[str, Spans] = {}
        """By stream, what REST did not have either."""
        self._audits: Counter[str] = Counter()
        self._recent_audits: deque[Row] = deque(maxlen=_KEPT)
        self._services: dict[str, _Service] = {}

    # News -----------------------------------------------------------------------------------------------------

    def take_stamp(self, topic: str, timestamp_ms: int) -> None:
        """Note the timestamp of a record of a topic, which is the exchange's time.

        Args:
            topic: the topic, without prefix.
            timestamp_ms: the record's Kafka timestamp (ms since the Unix epoch).
        """
        known = self._topics.get(topic) or self._topics.setdefault(topic, _Topic())
        known.last_record_us = max(known.last_record_us or 0, timestamp_ms * 1000)

    def take_ends(self, ends: Mapping[str, int], now: float) -> None:
        """Note how far topics have come, for their rates.

        Args:
            ends: the sum of the end offsets of all partitions, by topic without prefix.
            now: when they were looked up (monotonic seconds).
        """
        for topic, end in ends.items():
            known = self._topics.get(topic) or self._topics.setdefault(topic, _Topic())
            known.ends.append((now, end))
            while len(known.ends) > 2 and known.ends[1][0] < now - _RATE_SECONDS:
                known.ends.popleft()

    def take_watermark(self, record: Mapping[str, Any]) -> None:
        """Add a Watermark record."""
        instance = record["instance"]
        producer = self._producers.get(instance) or self._producers.setdefault(instance, _Producer(instance))
        self._producers.move_to_end(instance)
        producer.take(record)
        self._hear(record["service"], "watermark", record["published_time"], is_over=record["is_final"])

    def take_gap(self, record: Mapping[str, Any]) -> None:
        """Add a Gap record. The result of a backfill closes earlier gaps of its stream as far as its bounds reach."""
        stream, reason, span = record["stream"], record["reason"], span_of(record)
        if reason in CLOSING_REASONS:
            if span is not None and stream in self._missing:
                self._missing[stream].remove(*span)
            if span is not None and reason == REFILL_INCOMPLETE:
                self._lost.setdefault(stream, Spans(_SPANS_A_STREAM)).add(*span)
        else:
            self._gaps.append(_Gap(record, span))
            if span is not None:
                self._missing.setdefault(stream, Spans(_SPANS_A_STREAM)).add(*span)
        self._hear(record["service"], "gap", record["detected_time"])

    def take_audit(self, record: Mapping[str, Any]) -> None:
        """Add a BookAudit record."""
        result = record["result"]
        self._audits[result] += 1
        if result != "WANTED":
            names = ("symbol", "result", "reason", "update_id", "compared_levels", "different_levels", "service")
            self._recent_audits.append({"time": record["audited_time"], **{name: record[name] for name in names}})
        self._hear(record["service"], "audit", record["audited_time"])

    def take_status(self, record: Mapping[str, Any]) -> None:
        """Note from a StreamStatus record that its service was active."""
        self._hear(record["service"], "stream_status", record["changed_time"])

    def _hear(self, service: str, how: str, time_us: int, *, is_over: bool = False) -> None:
        known = self._services.get(service) or self._services.setdefault(service, _Service(service))
        known.heard(how, time_us, is_over)

    # Questions ------------------------------------------------------------------------------------------------

    def topics(self, now_us: int, complete_through: Mapping[str, int | None]) -> Row:
        """Return the state of each topic: its newest record, its rate and its completeness.

        Args:
            now_us: the wall clock's time (µs since the Unix epoch).
            complete_through: the time up to which each topic is complete (µs), by topic without prefix.

        Returns:
            By topic: `last_record_time` (µs), `age_ms`, `records_per_second` and `complete_through` (µs); None if unknown.
        """
        rows = {}
        for name in sorted(self._topics.keys() | complete_through.keys()):
            topic = self._topics.get(name) or _Topic()
            last = topic.last_record_us
            rows[name] = {
                "last_record_time": last,
                "age_ms": None if last is None else max(0, now_us - last) // 1000,
                "records_per_second": topic.rate(),
                "complete_through": complete_through.get(name),
            }
        return rows

    def producers(self, now_us: int) -> list[Row]:
        """Return the producer instances with a watermark of the last ten minutes, by service.

        Args:
            now_us: the wall clock's time (µs since the Unix epoch).
        """
        for instance in [each for each, said in self._producers.items() if now_us - said.published_us > _GONE_MICROS]:
            del self._producers[instance]
        return sorted((each.row(now_us) for each in self._producers.values()), key=lambda row: row["service"])

    def gaps(self, now_us: int) -> Row:
        """Return the number of losses in the last hour, of refilled gaps and of open ranges, and the newest 50 gaps.

        Args:
            now_us: the wall clock's time (µs since the Unix epoch).
        """
        losses = [gap for gap in self._gaps if gap.reason not in _NO_LOSS]
        return {
            "last_hour": sum(gap.time_us > now_us - _HOUR_MICROS for gap in losses),
            "open": sum(map(len, self._missing.values())),
            "refilled": sum(map(self._is_refilled, self._gaps)),
            "recent": [gap.row(is_refilled=self._is_refilled(gap)) for gap in list(self._gaps)[-_KEPT:][::-1]],
        }

    def _is_refilled(self, gap: "_Gap") -> bool:
        """Return whether REST returned all that was missing, or showed that nothing was."""
        span = gap.span
        return span is not None and not any(
            each is not None and each.missing_in(*span) != [span]
            for each in (self._missing.get(gap.stream), self._lost.get(gap.stream))
        )

    def audits(self) -> Row:
        """Return the number of audits by result, and the newest 50."""
        return {
            "matches": self._audits["MATCH"],
            "mismatches": self._audits["MISMATCH"],
            "not_comparable": self._audits["NOT_COMPARABLE"],
            "recent": list(self._recent_audits)[::-1],
        }

    def services(self, now_us: int) -> list[Row]:
        """Return the services that wrote a record in the last hour, by name, and when each did last.

        Args:
            now_us: the wall clock's time (µs since the Unix epoch).
        """
        known = sorted(self._services.values(), key=lambda each: each.name)
        return [each.row(now_us) for each in known if now_us - each.time_us < _HOUR_MICROS]


class _Topic:
    __slots__ = ("ends", "last_record_us")

    def __init__(self) -> None:
        self.last_record_us: int | None = None
        self.ends: deque[tuple[float, int]] = deque()

    def rate(self) -> int | None:
        """Return the records per second, rounded, over about ten seconds; None while unknown."""
        if len(self.ends) < 2 or self.ends[-1][0] <= self.ends[0][0]:
            return None
        seconds = self.ends[-1][0] - self.ends[0][0]
        return max(0, round((self.ends[-1][1] - self.ends[0][1]) / seconds))


class _Producer:
    __slots__ = ("_covered", "_uncovered", "complete_through", "instance", "is_final", "published_us", "service")

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.service = ""
        self.published_us = self.complete_through = 0
        self.is_final = False
        self._covered = 0
        self._uncovered: list[str] = []

    def take(self, record: Mapping[str, Any]) -> None:
        self.service, self.is_final = record["service"], record["is_final"]
        self.published_us, self.complete_through = record["published_time"], record["complete_through"]
        coverage = record["coverage"]
        if coverage is not None:
            self._covered, self._uncovered = 0, []
            for interval in coverage:
                if interval["since"] is not None and interval["until"] is None:
                    self._covered += len(interval["streams"])
                else:
                    self._uncovered += interval["streams"]

    def row(self, now_us: int) -> dict[str, Any]:
        return {
            "instance": self.instance,
            "service": self.service,
            "last_watermark": self.published_us,
            "age_ms": max(0, now_us - self.published_us) // 1000,
            "complete_through": self.complete_through,
            "is_final": self.is_final,
            "covered_streams": 0 if self.is_final else self._covered,
            "uncovered_streams": len(self._uncovered),
            "uncovered": sorted(self._uncovered)[:_NAMED],
        }


class _Gap:
    __slots__ = ("_ends", "_starts", "reason", "span", "stream", "symbol", "time_us")

    def __init__(self, record: Mapping[str, Any], span: Span | None) -> None:
        self.stream, self.symbol, self.reason = record["stream"], record["symbol"], record["reason"]
        self.span = span
        self.time_us = record["detected_time"]
        self._starts = record["last_id"], record["last_time"]
        self._ends = record["next_id"], record["next_time"]

    def row(self, *, is_refilled: bool) -> Row:
        by_time = self._starts[0] is None and self._ends[0] is None
        return {
            "stream": self.stream,
            "symbol": self.symbol,
            "reason": self.reason,
            "from": self._starts[by_time],
            "to": self._ends[by_time],
            "bounds": "time" if by_time else "id",
            "time": self.time_us,
            "loss": self.reason not in _NO_LOSS,
            "refilled": is_refilled,
        }


class _Service:
    __slots__ = ("_how", "_is_over", "name", "time_us")

    def __init__(self, name: str) -> None:
        self.name = name
        self.time_us = 0
        self._how = ""
        self._is_over = False

    def heard(self, how: str, time_us: int, is_over: bool) -> None:
        if time_us >= self.time_us:
            self.time_us, self._how, self._is_over = time_us, how, is_over

    def row(self, now_us: int) -> Row:
        return {
            "service": self.name,
            "last_heard": self.time_us,
            "age_ms": max(0, now_us - self.time_us) // 1000,
            "heard_by": self._how,
            "has_ended": self._is_over,
        }
