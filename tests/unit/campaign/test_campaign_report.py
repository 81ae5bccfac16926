"""What a campaign found is told in full, fails whatever broke a promise, and keeps no other seed from its turn."""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.campaign import __main__ as program
from faults.campaign.judge import Loss, Sight, Wrong
from faults.campaign.past_moments import PastFindings, WrongThen
from faults.campaign.progress import Stuck
from faults.campaign.readers import BOOK_READERS
from faults.campaign.record_judge import RecordFindings
from faults.campaign.report import Findings, table
from faults.campaign.schedule import Schedule, schedule
from faults.campaign.truth import Message
from faults.campaign.verdicts import moments_between

SIGHT = Sight("leaving", 1_000_000, "SOL_USDC", "LIVE", 7, b"")
MESSAGE = Message("trade", "SOL_USDC", 1, 1, 5, 5, (5,))
LOST = Loss(MESSAGE, MESSAGE, 1, "no gap on record")
PROBLEMS: dict[str, dict[str, Any]] = {
    "other bids": {"wrongs": [Wrong(SIGHT, "other bids")]},
    "no gap on record": {"losses": [LOST]},
    "sync: X: STALE": {"not_recovered": ["sync: X: STALE"]},
    "command: X: STALE": {"at_the_end": ["command: X: STALE"]},
    "made no progress from +30.0 s": {"stuck": [Stuck("rest-poller", 30.0, 160.0)]},
    "KeyError": {"broken": ["leaving: KeyError: 1"]},
    "3 records not given": {"records": {"records": RecordFindings(lost=["3 records not given"])}},
    "3 records twice": {"records": {"beginning": RecordFindings(twice=["3 records twice"])}},
    "no hole": {"records": {"records": RecordFindings(untrue=["no hole"])}},
    "never at update 9": {"past": PastFindings(wrongs=[WrongThen(1_000_000, "X", 9, "never at update 9")])},
    "not read within": {"past": PastFindings(unread=["5: not read within 60 s"])},
}


def findings(**found: Any) -> Findings:
    return Findings(schedule(7, 60), 0, **found)


@pytest.mark.parametrize("said", PROBLEMS)
def test_whatever_broke_a_promise_fails_and_is_told(said):
    found = findings(**PROBLEMS[said])
    assert found.failed
    assert said in found.details()


def test_what_is_only_worth_knowing_does_not_fail():
    found = findings(
        sights=Counter(library=5),
        recovered=dict.fromkeys(BOOK_READERS, 59.0),
        records={"records": RecordFindings(given=7, holes=1, late=1)},
        past=PastFindings(statuses=Counter(LIVE=3, STALE=4), reasons=Counter(why=4)),
        remarks=["leaving joined 3 times"],
    )
    assert not found.failed
    assert "leaving joined 3 times" in found.details()
    assert "| 5 / 0 / 59 s |" in found.readers_row()
    assert found.readers_row().endswith("| 7 / 0 / 0 / 0 |  | 3 / 4 / 0 |")


def test_both_tables_have_a_row_a_campaign():
    rows = [line for line in table([findings(), findings()]).splitlines() if line.startswith("| 7 |")]
    assert len(rows) == 4
    lines = table([]).splitlines()
    for head, dashes, row in ((*lines[-2:], findings().readers_row()), (*lines[:2], findings().row())):
        assert len({line.count("|") for line in (head, dashes, row)}) == 1


def test_how_many_services_were_stuck_is_the_last_column():
    assert table([]).splitlines()[0].endswith("| stuck |")
    assert findings(stuck=[Stuck("rest-poller", 30.0, 160.0)]).row().endswith("| 1 |")


def test_moments_are_those_of_the_seed():
    moments = moments_between(7, 100, 1000, 2000)
    assert moments == moments_between(7, 100, 1000, 2000) != moments_between(8, 100, 1000, 2000)
    assert len(moments) == 100
    assert moments[0] >= 1000
    assert moments[-1] == 2000


class Broken:
    """A campaign of which the second seed does not come to its end."""

    def __init__(self, _: object, folder: Path, plan: Schedule, *__: object) -> None:
        self.findings = Findings(plan, 0)
        self._folder = folder

    def run(self) -> None:
        if self.findings.schedule.seed == 2:
            raise OSError("the sandbox is not ready")
        (self._folder / "report.md").write_text(self.findings.details())


@contextlib.contextmanager
def no_cluster(*_: object) -> Iterator[None]:
    yield


def test_a_seed_that_does_not_end_keeps_no_other_from_its_turn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "Campaign", Broken)
    monkeypatch.setattr(program, "running_cluster", no_cluster)
    monkeypatch.setattr(sys, "argv", ["campaign", "--seeds", "1,2,3", "--folder", str(tmp_path)])
    assert program.main() == 1
    told = (tmp_path / "table.md").read_text()
    assert [row.split()[1] for row in told.splitlines() if row[2:3].isdigit()] == ["1", "2", "3"] * 2
    assert told in capsys.readouterr().out
    assert "the sandbox is not ready" in (tmp_path / "seed-2" / "report.md").read_text()
    assert all((tmp_path / f"seed-{seed}" / "report.md").exists() for seed in (1, 3))
