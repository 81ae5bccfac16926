"""The findings of a campaign, for people: one row of a table, and a folder with the details."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.campaign.gateway_readers import GATEWAY_READERS
from faults.campaign.judge import MAX_BEHIND_SECONDS, Loss, Overclaim, Wrong
from faults.campaign.past_moments import PastFindings, WrongThen
from faults.campaign.progress import Stuck
from faults.campaign.readers import BOOK_READERS
from faults.campaign.record_judge import RecordFindings
from faults.campaign.schedule import Fault, Schedule
from faults.campaign.sights import CHECKPOINT, COMMAND, TOP

_SHOWN = 20
_CAUSE_SECONDS = 8.0
"""Faults so long before are shown next to a finding."""
_SHOWS_BOOKS = (*BOOK_READERS, *GATEWAY_READERS, COMMAND, TOP, CHECKPOINT)

HEAD = (
    "| seed | min | doubled | sent | faults by kind | gaps | refills | lost | wrong | twice | recovered after | stuck |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)
READERS_HEAD = (
    "Of each reader: LIVE books looked at / wrong / all books back after the last fault. Of records: given / lost / twice / untrue. "
    "Of books as of past moments: LIVE and right / not LIVE / wrong.\n"
    f"| seed | {' | '.join(_SHOWS_BOOKS)} | records | from the beginning | --at |\n|---|{'---|' * len(_SHOWS_BOOKS)}---|---|---|"
)


@dataclass(slots=True)
class Findings:
    """All findings. `began_us`: time 0 of the schedule."""

    schedule: Schedule
    began_us: int
    sent: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)
    not_looked_for: int = 0
    """Messages lost without a record on streams for which nobody promises more."""
    wrongs: list[Wrong] = field(default_factory=list)
    overclaims: list[Overclaim] = field(default_factory=list)
    """For information: nobody promises how soon a dead socket is detected."""
    sights: Counter[str] = field(default_factory=Counter)
    """LIVE books observed, by reader."""
    records: dict[str, RecordFindings] = field(default_factory=dict)
    """By reader of records."""
    recovered: dict[str, float] = field(default_factory=dict)
    """Seconds from the last fault until all books were LIVE and up to date with the exchange, by source."""
    not_recovered: list[str] = field(default_factory=list)
    at_the_end: list[str] = field(default_factory=list)
    """Books that did not equal the exchange's own after the end of its flow."""
    broken: list[str] = field(default_factory=list)
    """Errors that no reader should get, and why a campaign could not finish."""
    stuck: list[Stuck] = field(default_factory=list)
    past: PastFindings = field(default_factory=PastFindings)
    remarks: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Messages lost without a record."""
        return sum(each.count for each in self.losses)

    @property
    def failed(self) -> bool:
        """Whether any promise was broken."""
        problems: list[Any] = [self.losses, self.wrongs, self.not_recovered, self.at_the_end, self.broken]
        problems += [self.stuck, self.past.wrongs, self.past.unread]
        return any(problems) or any(each.problems for each in self.records.values())

    @property
    def twice(self) -> int:
        """Streams with records given twice to a reader."""
        return sum(len(each.twice) for each in self.records.values())

    def seconds(self, wall_us: int) -> float:
        """A moment in seconds of the schedule."""
        return (wall_us - self.began_us) / 1e6

    def first_wrongs(self) -> list[Wrong]:
        """The first of consecutive equal ones: a book stays wrong while it is observed."""
        seen: set[tuple[Any, ...]] = set()
        found = []
        for each in self.wrongs:
            sight = each.sight
            key = sight.reader, sight.symbol, sight.last_update_id
            if key not in seen:
                seen.add(key)
                found.append(each)
        return found

    def row(self) -> str:
        """One row of the table."""
        kinds = Counter(each.kind for each in self.schedule.faults)
        refills = self.gaps["REFILLED"]
        recovered = f"{max(self.recovered.values(), default=0.0):.0f} s"
        cells = (
            self.schedule.seed,
            f"{self.schedule.seconds / 60:g}",
            "yes" if self.schedule.doubled else "no",
            self.sent,
            ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
            sum(self.gaps.values()) - refills,
            refills,
            self.lost,
            f"{len(self.first_wrongs())} ({len(self.wrongs)} looks)" if self.wrongs else 0,
            self.twice,
            "not all" if self.not_recovered or not self.recovered else recovered,
            len(self.stuck),
        )
        return f"| {' | '.join(map(str, cells))} |"

    def readers_row(self) -> str:
        """One row of the table of readers."""
        wrongs = Counter(each.sight.reader for each in self.wrongs)
        cells = [str(self.schedule.seed)]
        for reader in _SHOWS_BOOKS:
            back = f" / {self.recovered[reader]:.0f} s" if reader in self.recovered else ""
            cells.append(f"{self.sights[reader]} / {wrongs[reader]}{back}")
        for name in ("records", "beginning"):
            found = self.records.get(name)
            cells.append(
                "" if found is None else f"{found.given} / {len(found.lost)} / {len(found.twice)} / {len(found.untrue)}"
            )
        live, wrong = self.past.statuses["LIVE"], len(self.past.wrongs)
        cells.append(f"{live - wrong} / {self.past.statuses.total() - live} / {wrong}")
        return f"| {' | '.join(cells)} |"

    def details(self) -> str:
        """Everything needed to investigate a failure."""
        lines = [
            HEAD,
            self.row(),
            "",
            READERS_HEAD,
            self.readers_row(),
            "",
            "## Faults",
            *(f"- {each}" for each in self.schedule.faults),
            "",
            f"## Gaps: {dict(self.gaps)}",
            f"## LIVE books looked at: {dict(self.sights)}",
            f"## Book tickers lost without a record, which nobody looks for: {self.not_looked_for}",
            *self._some("Lost without a record", self.losses, self._loss),
            *self._some("LIVE and wrong", self.first_wrongs(), self._wrong),
            *(line for name, each in self.records.items() for line in self._of_records(name, each)),
            *self._of_past(),
            *self._some("LIVE, and less complete than said", self._worst_overclaims(), self._overclaim),
            *self._some("Broken otherwise", self.broken, str),
            *self._some("No progress long after the cause was over", self.stuck, str),
            *self._some("Not LIVE and equal in time after the last fault", self.not_recovered, str),
            *self._some("Not equal after the flow was over", self.at_the_end, str),
            *self._some("Remarks", self.remarks, str),
        ]
        return "\n".join(lines) + "\n"

    def _some(self, title: str, items: Sequence[Any], show: Any) -> list[str]:
        if not items:
            return []
        more = [f"- and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
        return ["", f"## {title}: {len(items)}", *(f"- {show(each)}" for each in items[:_SHOWN]), *more]

    def _of_records(self, name: str, found: RecordFindings) -> list[str]:
        told = [f"## {name}: {found.given} records given, {found.holes} holes told, {found.late} trades given late"]
        return [*told, *self._some(f"Wrong with {name}", found.problems, str)]

    def _worst_overclaims(self) -> list[Overclaim]:
        worst: dict[tuple[str, int | None], Overclaim] = {}
        for each in self.overclaims:
            key = each.sight.symbol, each.sight.last_update_id
            worst[key] = max(each, worst.get(key, each), key=lambda claim: claim.seconds)
        return sorted(worst.values(), key=lambda claim: -claim.seconds)

    def _overclaim(self, claim: Overclaim) -> str:
        sight = claim.sight
        at = self.seconds(sight.wall_us)
        return (
            f"{sight.symbol} shown by {sight.reader} at +{at:.1f} s at update {sight.last_update_id}: said to be complete up to "
            f"+{self.seconds(sight.as_of_us or 0):.1f} s, {claim.seconds:.1f} s too late{self._near(at, _CAUSE_SECONDS)}"
        )

    def _of_past(self) -> list[str]:
        past = self.past
        return [
            f"## As of {past.moments} moments: {dict(past.statuses)}, {past.exact} of the LIVE ones at the exchange's very update",
            *self._some(
                "Why books were not LIVE then", past.reasons.most_common(), lambda each: f"{each[1]}: {each[0]}"
            ),
            *self._some("LIVE and wrong as of a past moment", past.wrongs, self._wrong_then),
            *self._some("Moments that could not be read", past.unread, str),
        ]

    def _wrong_then(self, wrong: WrongThen) -> str:
        at = self.seconds(wrong.moment_us)
        return f"{wrong.symbol} as of +{at:.1f} s at update {wrong.last_update_id}: {wrong.why}{self._near(at, _CAUSE_SECONDS)}"

    def _near(self, seconds: float, within: float) -> str:
        near = self.schedule.before(seconds, within)
        return "".join(f"\n    - {each}" for each in near) or "\n    - no fault before it"

    def _loss(self, loss: Loss) -> str:
        first, last = self.seconds(loss.first.wall_us), self.seconds(loss.last.wall_us)
        ids = "" if loss.first.last_id is None else f", ids {loss.first.first_id} to {loss.last.last_id}"
        return (
            f"{loss.first.stream}: {loss.count} messages made +{first:.1f} s to +{last:.1f} s{ids}: {loss.why}"
            f"{self._near(first, _CAUSE_SECONDS)}"
        )

    def _wrong(self, wrong: Wrong) -> str:
        sight = wrong.sight
        alike = [
            each
            for each in self.wrongs
            if (each.sight.reader, each.sight.symbol, each.sight.last_update_id)
            == (sight.reader, sight.symbol, sight.last_update_id)
        ]
        last = self.seconds(alike[-1].sight.wall_us)
        at = self.seconds(sight.wall_us)
        return (
            f"{sight.symbol} shown by {sight.reader} from +{at:.1f} s to +{last:.1f} s ({len(alike)} looks) at update "
            f"{sight.last_update_id}: {wrong.why}{self._near(at, _CAUSE_SECONDS + MAX_BEHIND_SECONDS)}"
        )


def save(findings: Findings, folder: Path, ledger: Any, gaps: Sequence[Any], received: Mapping[Any, Any]) -> None:
    """Write the details and their data next to the logs; `received` as in `Kept`."""
    (folder / "report.md").write_text(findings.details())
    (folder / "ledger.json").write_text(json.dumps(ledger, separators=(",", ":")))
    (folder / "gaps.json").write_text("\n".join(json.dumps(each._asdict()) for each in gaps))
    streams = (
        {
            "stream": stream,
            "received": [[at_us, *map(str, identities)] for at_us, identities in sorted(by_time.items())],
        }
        for stream, by_time in received.items()
    )
    (folder / "received.json").write_text("\n".join(map(json.dumps, streams)))


def table(findings: Sequence[Findings]) -> str:
    """Both tables, with a row per campaign."""
    rows = [HEAD, *(each.row() for each in findings), "", READERS_HEAD, *(each.readers_row() for each in findings)]
    return "\n".join(rows) + "\n"


def fault_lines(faults: Sequence[Fault]) -> str:
    """A schedule for people."""
    return "\n".join(map(str, faults))
