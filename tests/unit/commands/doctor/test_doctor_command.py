"""The table, its exit code, its deadline; what is found about the registry, the exchange, the clock and the key."""

import asyncio
import io
import json
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from account_key import Key
from backpack_streams.bus.governance import CREATED, NEW_VERSION, UNCHANGED, Outcome, Survey
from backpack_streams.bus.registry_client import IncompatibleSchemaError, RegistryAwayError
from backpack_streams.commands.doctor import command
from backpack_streams.commands.doctor.exchange import judge_clock, judge_refusal, judge_status
from backpack_streams.commands.doctor.findings import Finding, Part, State, fail, ok
from backpack_streams.commands.doctor.key import examine_key
from backpack_streams.commands.doctor.reach import in_thread
from backpack_streams.commands.doctor.registry import judge_failure, judge_subjects
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.errors import UsageError
from backpack_streams.exchange.clock import Skew
from backpack_streams.exchange.rest_errors import RestRequest, error_from_answer


def finding(state: State, part: Part = Part.KAFKA) -> Finding:
    return Finding(part, "check", state, "found", "todo" if state in (State.WARN, State.FAIL) else "")


def looks(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    async def look(settings: DoctorSettings, tell: command.Tell) -> None:
        for each in findings:
            tell(each)

    async def nothing(settings: DoctorSettings, tell: command.Tell) -> None:
        pass

    monkeypatch.setattr(command, "_LOOKS", dict.fromkeys(Part, nothing) | {Part.KAFKA: look})


def said(**settings: Any) -> tuple[int, list[str]]:
    out = io.StringIO()
    with redirect_stdout(out):
        code = asyncio.run(command.run(DoctorSettings(**settings)))
    return code, out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("states", "code"),
    [((), 0), ((State.OK, State.WARN, State.SKIPPED), 0), ((State.OK, State.FAIL, State.OK), 1)],
)
def test_only_a_failure_gives_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, states: tuple[State, ...], code: int
) -> None:
    looks(monkeypatch, *map(finding, states))
    assert said()[0] == code


def test_json_is_one_object_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, finding(State.FAIL))
    _, lines = said(json_output=True)
    assert [json.loads(line) for line in lines] == [
        {"part": "kafka", "check": "check", "state": "FAIL", "found": "found", "todo": "todo"}
    ]


def test_the_table_puts_the_advice_under_the_finding_and_counts() -> None:
    rows = [Finding(Part.KAFKA, "dns k", State.OK, "10.0.0.1"), Finding(Part.REGISTRY, "port", State.FAIL, "a b", "do")]
    assert list(command.table(rows, 80)) == [
        "OK       kafka     dns k  10.0.0.1",
        "FAIL     registry  port   a b",
        "                          → do",
        "1 OK, 0 WARN, 1 FAIL, 0 SKIPPED",
    ]


def test_long_texts_are_wrapped_into_their_column() -> None:
    rows = [Finding(Part.KAFKA, "dns k", State.OK, " ".join(["word"] * 40))]
    lines = list(command.table(rows, 80))[:-1]
    assert len(lines) > 2
    assert all(len(line) <= 80 for line in lines)
    assert all(line.startswith(" " * 26 + "word") for line in lines[1:])


def test_a_check_without_an_answer_fails_within_the_deadline_and_affects_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks(monkeypatch, finding(State.OK))

    async def silent(settings: DoctorSettings, tell: command.Tell) -> None:
        tell(finding(State.OK, Part.REGISTRY))
        await in_thread(lambda: time.sleep(60))

    async def broken(settings: DoctorSettings, tell: command.Tell) -> None:
        raise ValueError("something\nodd")

    monkeypatch.setattr(command, "_LOOKS", {**command._LOOKS, Part.REGISTRY: silent, Part.EXCHANGE: broken})
    began = time.monotonic()
    code, lines = said(timeout=0.2, json_output=True)
    assert time.monotonic() - began < 20
    found = [(each["part"], each["state"]) for each in map(json.loads, lines)]
    assert (code, found) == (1, [("kafka", "OK"), ("registry", "OK"), ("registry", "FAIL"), ("exchange", "FAIL")])


def test_a_skipped_part_is_shown_as_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, finding(State.FAIL))
    code, lines = said(skip=("kafka",), json_output=True)
    assert (code, json.loads(lines[0])["state"]) == (0, "SKIPPED")


def test_a_usage_error_of_a_part_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(settings: DoctorSettings, tell: command.Tell) -> None:
        raise UsageError("the TLS files cannot be used")

    monkeypatch.setattr(command, "_LOOKS", dict.fromkeys(Part, refused))
    with pytest.raises(UsageError, match="TLS files"):
        said()


@pytest.mark.parametrize("wrong", [{"skip": ("kafak",)}, {"services": ("gatewy",)}, {"services": ()}, {"timeout": 0}])
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"skip|service|timeout"):
        DoctorSettings(**wrong)


def outcome(action: str, level: str | None = "FULL_TRANSITIVE") -> Outcome:
    return Outcome("p.market.trade-value", "Trade", action, 1, 1, level)


@pytest.mark.parametrize(
    ("survey", "state", "found"),
    [
        (Survey([outcome(UNCHANGED)], []), State.OK, "1 contain this version's schemas"),
        (Survey([outcome(UNCHANGED, None)], []), State.WARN, "FULL_TRANSITIVE"),
        (Survey([outcome(CREATED)], []), State.FAIL, "p.market.trade-value"),
        (Survey([outcome(NEW_VERSION)], []), State.FAIL, "1 of 1"),
        (Survey([outcome(UNCHANGED)], [IncompatibleSchemaError("subject x forbids")]), State.FAIL, "subject x forbids"),
    ],
)
def test_the_subjects_are_judged(survey: Survey, state: State, found: str) -> None:
    verdict = judge_subjects(survey)
    assert (verdict.state, found in verdict.found) == (state, True)
    assert bool(verdict.todo) == (state is not State.OK)


def test_a_failing_registry_gives_advice() -> None:
    verdict = judge_failure(
        RegistryAwayError("the schema registry at http://r gives no answer (refused): check that it runs")
    )
    assert verdict == fail("the schema registry at http://r gives no answer (refused)", "check that it runs")
    assert judge_failure(RegistryAwayError("odd")).found == "odd"


@pytest.mark.parametrize(
    ("body", "state", "found"),
    [
        (b'{"status":"Ok","message":null}', State.OK, "status Ok"),
        (b'{"status":"Maintenance","message":"back\\nsoon"}', State.WARN, "Maintenance: back soon"),
        (b"<html>", State.FAIL, "not the exchange's API"),
        (b"[]", State.FAIL, "not the exchange's API"),
        (None, State.FAIL, "not the exchange's API"),
    ],
)
def test_the_exchanges_status_is_judged(body: bytes | None, state: State, found: str) -> None:
    verdict = judge_status(body)
    assert (verdict.state, found in verdict.found) == (state, True)


def test_a_refusal_keeps_its_advice() -> None:
    verdict = judge_refusal(error_from_answer(RestRequest("GET", "/x"), 451, b"not here"))
    assert (verdict.state, verdict.found) == (State.FAIL, "HTTP 451: not here")
    assert "region" in verdict.todo


@pytest.mark.parametrize(
    ("ahead_ms", "state"),
    [(20, State.OK), (-1_040, State.OK), (1_500, State.WARN), (-29_000, State.WARN), (31_000, State.FAIL)],
)
def test_the_clock_difference_is_judged(ahead_ms: float, state: State) -> None:
    verdict = judge_clock(Skew(ahead_ms, 50))
    assert verdict.state is state
    assert ("NTP" in verdict.todo) == (state is not State.OK)


def test_the_key_is_read_and_not_shown(tmp_path: Path) -> None:
    key = Key(tmp_path)
    verdict = examine_key(key.file)
    assert verdict == ok(f"usable; its public key is {key.public}")
    assert key.private not in repr(verdict)
    (tmp_path / "short").write_text("c2hvcnQ=")
    for name in ("short", "missing"):
        wrong = examine_key(tmp_path / name)
        assert wrong.state is State.FAIL
        assert wrong.todo
        assert "c2hvcnQ" not in repr(wrong)
