"""What a campaign found, for people: one row of a table, and a folder with the details."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.campaign.judge import MAX_BEHIND_SECONDS, Loss, Wrong
from faults.campaign.schedule import Fault, Schedule

_SHOWN = 20
_CAUSE_SECONDS = 8.0
"""Faults so long before are shown beside what was found."""

HEAD = (
    "| seed | min | doubled | sent | faults by kind | gaps | refills | lost | wrong | twice | recovered after |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(slots=True)
class Findings:
    """All that is known at the end. `began_us`: the moment that the schedule counts from."""

    schedule: Schedule
    began_us: int
    sent: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)
    not_looked_for: int = 0
    """Messages lost without a record on streams of which nobody promises more."""
    wrongs: list[Wrong] = field(default_factory=list)
    sights: Counter[str] = field(default_factory=Counter)
    """LIVE books looked at, by reader."""
    twice: list[tuple[str, int]] = field(default_factory=list)
    recovered_seconds: float | None = None
    not_recovered: list[str] = field(default_factory=list)
    at_the_end: list[str] = field(default_factory=list)
    """Books that did not equal the exchange's own after its flow was over."""
    remarks: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Messages lost without a record."""
        return sum(each.count for each in self.losses)

    @property
    def failed(self) -> bool:
        """Whether any promise was broken."""
        return bool(self.losses or self.wrongs or self.twice or self.not_recovered or self.at_the_end)

    def seconds(self, wall_us: int) -> float:
        """A moment as the schedule counts it."""
        return (wall_us - self.began_us) / 1e6

    def first_wrongs(self) -> list[Wrong]:
        """The first of those in a row that are alike: a book stays wrong for as long as one looks."""
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
        recovered = "never" if self.recovered_seconds is None else f"{self.recovered_seconds:.0f} s"
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
            len(self.twice),
            recovered,
        )
        return f"| {' | '.join(map(str, cells))} |"

    def details(self) -> str:
        """Everything that a person needs to look into what failed."""
        lines = [
            HEAD,
            self.row(),
            "",
            "## Faults",
            *(f"- {each}" for each in self.schedule.faults),
            "",
            f"## Gaps: {dict(self.gaps)}",
            f"## LIVE books looked at: {dict(self.sights)}",
            f"## Book tickers lost without a record, which nobody looks for: {self.not_looked_for}",
            *self._some("Lost without a record", self.losses, self._loss),
            *self._some("LIVE and wrong", self.first_wrongs(), self._wrong),
            *self._some("Given twice by the library", self.twice, str),
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


def save(findings: Findings, folder: Path, ledger: Any, gaps: Sequence[Any]) -> None:
    """Write the details, and what they were found in, beside the logs."""
    (folder / "report.md").write_text(findings.details())
    (folder / "ledger.json").write_text(json.dumps(ledger, separators=(",", ":")))
    (folder / "gaps.json").write_text("\n".join(json.dumps(each._asdict()) for each in gaps))


def fault_lines(faults: Sequence[Fault]) -> str:
    """A schedule for people."""
    return "\n".join(map(str, faults))
