"""The health of the plant as lines: ages of data at each hop, producers, messages, gaps, audits, services. Sans I/O."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.topic_names import DEPTH_TOPIC
from backpack_streams.screen.figures import age, count
from backpack_streams.screen.lines import Line, Part, Tone, labelled
from backpack_streams.screen.view import View

__all__ = ["LATE_MS", "health_lines", "kafka_trouble", "messages_per_second", "not_live_lines"]

LATE_MS: Final = 5_000
"""Older data is late: watermarks come every second."""
_INSTANCE_LETTERS: Final = 8
_NAMED_STREAMS: Final = 2
_NAMED_BOOKS: Final = 8
_NAMED_TOPICS: Final = 8


def messages_per_second(view: View) -> int | None:
    """Return the records per second over all topics; None until the topics were counted twice."""
    rates = [topic["records_per_second"] for topic in view.plant["topics"].values()]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def kafka_trouble(view: View) -> str:
    """Return why the figures may be out of date, and how old they are; empty while Kafka answers."""
    if view.answered_ms is None:
        return f"Kafka has not answered yet: {view.trouble or 'it is being asked'}"
    if not view.is_current:
        return f"Kafka has not answered for {age(view.answered_ms)}, so what follows is of then: {view.trouble or 'waiting'}"
    return view.trouble


def health_lines(view: View, most: int) -> list[Line]:
    """Return the lines of the plant's health, the most important ones first.

    Each producer has a line of its own if there is room. Otherwise those in most need of attention do, and one line sums
    up the rest.

    Args:
        view: the plant and the books.
        most: the maximum number of lines.
    """
    lines = [_ages(view), *not_live_lines(view)]
    tail = [
        _gaps(view.plant["gaps"]),
        _audits(view.plant["audits"]),
        _messages(view),
        _services(view.plant["services"]),
    ]
    producers = _producers(view.plant["producers"], max(1, most - len(lines) - len(tail)))
    return [*lines, *producers, *tail][: max(0, most)]


def _ages(view: View) -> Line:
    """Return the line of ages: the newest update, the oldest watermark, Kafka's last answer, and all books together."""
    depth = view.plant["topics"].get(DEPTH_TOPIC, {}).get("age_ms")
    watermarks = [each["age_ms"] for each in view.plant["producers"] if not each["is_final"]]
    hops = {
        "exchange": depth,
        "producers": max(watermarks, default=None),
        "Kafka": view.answered_ms,
        "books": view.books_age_ms,
    }
    parts: list[Part | str] = []
    for name, milliseconds in hops.items():
        parts += [f"{' › ' if parts else ''}{name} ", Part(age(milliseconds), _late(milliseconds))]
    return labelled("age", parts)


def not_live_lines(view: View) -> list[Line]:
    """Return one line that names the books that are STALE or SYNCING, with their reasons; no line if there are none."""
    not_live = sorted((row for row in view.rows if row.status in ("STALE", "SYNCING")), key=lambda row: row.status)
    if not not_live:
        return []
    words = "; ".join(f"{row.symbol} {row.status}: {row.reason}" for row in not_live[:_NAMED_BOOKS])
    more = f"; and {len(not_live) - _NAMED_BOOKS} more" if len(not_live) > _NAMED_BOOKS else ""
    return [labelled("not LIVE", [Part(f"{count(len(not_live))}: {words}{more}", Tone.BAD)])]


def _producers(rows: Sequence[Row], most: int) -> list[Line]:
    """Return at most `most` lines. Producers that are late or lack streams come first; the last line counts those not shown."""
    if not rows:
        return [labelled("producers", [Part("none has sent a watermark yet", Tone.WARN)])]
    by_need = sorted(rows, key=lambda row: (row["is_final"], -row["uncovered_streams"], -(row["age_ms"] // LATE_MS)))
    shown = by_need if len(by_need) <= most else by_need[: most - 1]
    lines = [labelled("producer", _producer(row)) for row in shown]
    hidden = by_need[len(shown) :]
    if hidden:
        oldest = max((row["age_ms"] for row in hidden if not row["is_final"]), default=None)
        covered, uncovered = (sum(row[name] for row in hidden) for name in ("covered_streams", "uncovered_streams"))
        what = f"{len(hidden)}{' more' if shown else ''}, {count(covered)} streams covered, oldest watermark "
        parts = [Part(what), Part(age(oldest), _late(oldest)), Part(f", {count(uncovered)} uncovered", _bad(uncovered))]
        lines.append(labelled("producers", parts))
    return lines


def _producer(row: Row) -> list[Part]:
    name = Part(f"{row['service']} {row['instance'][:_INSTANCE_LETTERS]}  ")
    if row["is_final"]:
        return [name, Part(f"ended {age(row['age_ms'])} ago", Tone.DIM)]
    parts = [name, Part("watermark "), Part(age(row["age_ms"]), _late(row["age_ms"]))]
    parts.append(Part(f", {count(row['covered_streams'])} streams covered"))
    if row["uncovered_streams"]:
        names = ", ".join(row["uncovered"][:_NAMED_STREAMS])
        more = ", …" if row["uncovered_streams"] > _NAMED_STREAMS else ""
        parts.append(Part(f", {count(row['uncovered_streams'])} not: {names}{more}", Tone.WARN))
    return parts


def _messages(view: View) -> Line:
    rates = {name: topic["records_per_second"] or 0 for name, topic in view.plant["topics"].items()}
    busiest = sorted((name for name in rates if rates[name]), key=lambda name: -rates[name])[:_NAMED_TOPICS]
    parts = [Part(f"{count(messages_per_second(view))}/s", Tone.STRONG)]
    parts += [Part(f"   {name} {count(rates[name])}/s") for name in busiest]
    return labelled("messages", parts)


def _gaps(gaps: Row) -> Line:
    parts = [
        Part(f"{count(gaps['last_hour'])} in the last hour, {count(gaps['refilled'])} refilled, "),
        Part(f"{count(gaps['open'])} open", _bad(gaps["open"])),
    ]
    if gaps["recent"]:
        newest = gaps["recent"][0]
        outcome = "refilled" if newest["refilled"] else "not refilled" if newest["loss"] else "nothing lost"
        parts.append(Part(f"; {_clock(newest['time'])} {newest['stream']} {newest['reason']}, {outcome}", Tone.DIM))
    return labelled("gaps", parts)


def _audits(audits: Row) -> Line:
    parts = [
        Part(f"{count(audits['matches'])} right, "),
        Part(f"{count(audits['mismatches'])} wrong", _bad(audits["mismatches"])),
        Part(f", {count(audits['not_comparable'])} not comparable"),
    ]
    if audits["recent"]:
        newest = audits["recent"][0]
        parts.append(Part(f"; {_clock(newest['time'])} {newest['symbol']} {newest['result']}", Tone.DIM))
    return labelled("audits", parts)


def _services(services: Sequence[Row]) -> Line:
    if not services:
        return labelled("services", [Part("none was seen yet", Tone.WARN)])
    parts: list[Part] = []
    for service in services:
        words, tone = _life(service)
        parts.append(Part(f"{'   ' if parts else ''}{service['service']} {words}", tone))
    return labelled("services", parts)


def _life(service: Row) -> tuple[str, Tone]:
    """Return whether a service is alive, and the tone of that.

    Only a watermark, which comes every second, proves that a service is alive. Of others only the time of their last
    record is known.
    """
    if service["has_ended"]:
        return "ended", Tone.WARN
    if service["heard_by"] != "watermark":
        return f"{age(service['age_ms'])} ago", Tone.PLAIN
    return ("silent", Tone.BAD) if service["age_ms"] > LATE_MS else ("alive", Tone.GOOD)


def _late(milliseconds: int | None) -> Tone:
    if milliseconds is None:
        return Tone.DIM
    return Tone.WARN if milliseconds > LATE_MS else Tone.GOOD


def _bad(amount: int) -> Tone:
    return Tone.BAD if amount else Tone.GOOD


def _clock(time_us: Any) -> str:
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%H:%M:%S}"
