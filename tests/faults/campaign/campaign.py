"""One campaign: starts the plant, runs the schedule, waits for recovery, and judges the result."""

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from faults.campaign import judge
from faults.campaign.gateway_readers import gateway_readers
from faults.campaign.injecting import Injector
from faults.campaign.kept import Kept, read_kept
from faults.campaign.markets import BUSY, MARKET_FAMILIES, MARKETS, NOT_LOOKED_FOR, PERP_FAMILIES, SLOW
from faults.campaign.past_moments import judge_past_moments
from faults.campaign.progress import STUCK_SECONDS, Happened
from faults.campaign.readers import BookReader, Program, book_readers
from faults.campaign.record_judge import RecordFindings, judge_records
from faults.campaign.record_readers import FAMILIES, RecordReader, read_from_the_beginning
from faults.campaign.recovery import behind, seconds_until_back, standing_of
from faults.campaign.report import Findings, save
from faults.campaign.roles import Role
from faults.campaign.schedule import GATEWAY, TOPIC_FAULTS, Fault, Schedule
from faults.campaign.sights import (
    COMMAND,
    TOP,
    look_with_command,
    now_us,
    sights_of_checkpoints,
    sights_of_tops,
)
from faults.campaign.starting import Cluster, role_of
from faults.campaign.truth import Truth, read_ledger
from faults.campaign.verdicts import book_times, exchange_books, losses, moments_between, shows_as_of, wrong_sights
from faults.campaign.watching import Watchers
from plant import Plant, free_port, running_plant

logger = logging.getLogger(__name__)

RECOVERY_SECONDS = 60.0
"""All books of open markets are LIVE and equal so soon after the last fault."""

MOMENTS = 100
"""Number of past moments to judge."""

_DRAIN_SECONDS = 30.0
_SETTLE_SECONDS = 3.0
_COMMAND_PAUSE_SECONDS = 3.0
_LEDGER_MESSAGES = 400_000
_RECORDS_SECONDS = 40.0
_TOPS_JUDGED = 400
_CHECKPOINTS_JUDGED = 200


class Goal(NamedTuple):
    """The state of the exchange at the end of the last fault."""

    at_us: int
    sequences: Mapping[str, Any]
    symbols: Collection[str]
    """The open markets."""


class Campaign:
    """One run of a schedule."""

    def __init__(self, cluster: Cluster, folder: Path, plan: Schedule, rate: float, moments: int = MOMENTS) -> None:
        """`rate`: depth frames per second over all markets; `moments`: number of past moments at which the books are judged."""
        self._cluster = cluster
        self._folder = folder
        self._plan = plan
        self._rate = rate
        self._moments = moments
        self._sights: list[judge.Sight] = []
        self._happened: list[Happened] = []
        self.findings = Findings(plan, 0)
        """The findings so far."""

    def run(self) -> Findings:
        """Run it to its end; the findings are also saved in the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        prefix = f"campaign-{self._plan.seed}."
        with ExitStack() as stack:
            kafka, surroundings = self._cluster
            access = surroundings.access if surroundings is not None else None
            plant = stack.enter_context(running_plant(kafka.bootstrap_servers, self._folder, prefix, access))
            plant.start_exchange(
                *("--symbols", str(MARKETS), "--rate", str(self._rate), "--grace-seconds", "5"),
                *("--ledger-messages", str(_LEDGER_MESSAGES), "--open-interest-seconds", "5"),
            )
            for symbol, weight in {**BUSY, **SLOW}.items():
                plant.exchange.order("pace", symbol=symbol, weight=weight)
            port = str(free_port())  # the same for each gateway process
            more = {GATEWAY: ("--host", "127.0.0.1", "--port", port)}
            roles = {
                name: role_of(plant, name, self._plan, self._folder, *more.get(name, ()))
                for name in self._plan.services
            }
            self.findings.began_us = now_us()
            began = time.monotonic()
            for role in roles.values():
                role.begin()
                stack.callback(role.end)
            readers = {**book_readers(plant), **gateway_readers(plant, f"http://127.0.0.1:{port}")}
            records = RecordReader(plant)
            programs: list[Program] = [*readers.values(), records]
            busy_since = time.process_time()
            with ExitStack() as running:
                for program in programs:
                    running.enter_context(program)
                with Watchers(roles, began) as watchers:
                    self._let_happen(plant, roles, began)
                    goal = self._recover(plant, readers)
                    watchers.wait_for_progress(self.findings.seconds(goal.at_us), STUCK_SECONDS + _SETTLE_SECONDS)
                self.findings.stuck = watchers.stuck(self._happened)
                finished_us = self._finish(plant, readers)
                kept = read_kept(plant.bootstrap_servers, plant.prefix, (*MARKET_FAMILIES, *PERP_FAMILIES))
                records.wait_for(kept.records, _RECORDS_SECONDS)
            share = (time.process_time() - busy_since) / (time.monotonic() - began)
            self.findings.remarks.append(f"readers and judge took {share:.0%} of a processor")
            for reader in readers.values():
                self._sights += reader.sights
            self.findings.broken += [f"{each.name}: {failure}" for each in programs for failure in each.failures]
            self.findings.remarks += [f"{each.name} joined {each.joins} times" for each in programs if each.joins > 1]
            self.findings.remarks += [f"{each.name} was refused: {why}" for each in programs for why in each.refusals]
            self._note_ends(roles)
            for role in roles.values():
                role.end()
            self._judge(plant, kept, goal, records, finished_us)
        return self.findings

    def _let_happen(self, plant: Plant, roles: dict[str, Role], began: float) -> None:
        """Perform all faults and looks on schedule, each on its own thread; return when the last one is over."""
        injector = Injector(plant, self._cluster.kafka, roles, self._cluster.surroundings)
        due: list[tuple[float, Fault | None]] = [(each.at, each) for each in self._plan.faults]
        due += [(at, None) for at in self._plan.looks]
        due.sort(key=lambda each: each[0])
        threads = []
        for at, fault in due:
            time.sleep(max(0.0, began + at - time.monotonic()))
            thread = threading.Thread(target=self._perform, args=(injector, plant, fault), daemon=True)
            thread.start()
            threads.append(thread)
        time.sleep(max(0.0, began + self._plan.seconds - time.monotonic()))
        for thread in threads:
            thread.join(120)
        plant.exchange.clear()
        self.findings.remarks += injector.remarks

    def _perform(self, injector: Injector, plant: Plant, fault: Fault | None) -> None:
        try:
            if fault is None:
                self._sights += look_with_command(plant)
            else:
                logger.info("%s", fault)
                injector.perform(fault)
        except Exception:  # noqa: BLE001  # the campaign continues, and the report shows it
            self.findings.remarks.append(f"{fault or 'a look'} failed: {traceback.format_exc(limit=3)}")
        if fault is not None:
            self._happened.append(Happened(fault, self.findings.seconds(now_us())))

    def _recover(self, plant: Plant, readers: Mapping[str, BookReader]) -> Goal:
        """Wait until the open markets' books of all readers have reached the exchange's state at the end of the last fault."""
        over, over_us = time.monotonic(), now_us()
        self.findings.remarks.append(f"the last fault was over at +{self.findings.seconds(over_us):.1f} s")
        goal = Goal(over_us, plant.exchange.ask("/sequences"), plant.exchange.ask("/books"))
        command = threading.Thread(target=self._recover_command, args=(plant, goal, over), daemon=True)
        command.start()
        left = dict(readers)
        while left:
            lacking = self._lacking(plant, left, goal.sequences)
            for name in [name for name in left if not lacking[name]]:
                del left[name]
                self.findings.recovered[name] = time.monotonic() - over
            if time.monotonic() > over + RECOVERY_SECONDS:
                self.findings.not_recovered += _lines({name: lacking[name] for name in left})
                break
            time.sleep(0.5)
        command.join(RECOVERY_SECONDS)
        return goal

    def _recover_command(self, plant: Plant, goal: Goal, over: float) -> None:
        """The same for the command; the time of its start counts."""
        while True:
            started = time.monotonic()
            sights = look_with_command(plant)
            self._sights += sights
            now = plant.exchange.ask("/sequences")
            lacking = behind(standing_of(sights), goal.symbols, goal.sequences, now)
            if not lacking:
                self.findings.recovered[COMMAND] = started - over
                return
            if started > over + RECOVERY_SECONDS:
                self.findings.not_recovered += [f"{COMMAND}: {each}" for each in lacking]
                return
            time.sleep(_COMMAND_PAUSE_SECONDS)

    def _lacking(
        self, plant: Plant, readers: Mapping[str, BookReader], goal: Mapping[str, Any]
    ) -> dict[str, list[str]]:
        """The books of each reader that have not recovered."""
        standing = {name: reader.standing() for name, reader in readers.items()}
        symbols, now = (
            list(plant.exchange.ask("/books")),
            plant.exchange.ask("/sequences"),
        )  # asked last, so never behind the books
        return {
            name: behind(standing[name], [each for each in symbols if reader.wants(each)], goal, now)
            for name, reader in readers.items()
        }

    def _finish(self, plant: Plant, readers: Mapping[str, BookReader]) -> int:
        """End the flow, wait for the rest of it, and compare all books once more; return the end time."""
        plant.exchange.finish()
        finished_us = now_us()
        goal = plant.exchange.ask("/sequences")
        deadline = time.monotonic() + _DRAIN_SECONDS
        unequal: list[str] = []
        while time.monotonic() < deadline:
            unequal = _lines(self._lacking(plant, readers, goal))
            if not unequal and time.monotonic() > deadline - _DRAIN_SECONDS + _SETTLE_SECONDS:
                break  # messages made by the clock arrive in this time
            time.sleep(0.5)
        shown = look_with_command(plant)
        self._sights += shown
        lacking = behind(standing_of(shown), plant.exchange.ask("/books"), goal, goal)
        self.findings.at_the_end = [*unequal, *(f"{COMMAND}: {each}" for each in lacking)]
        return finished_us

    def _note_ends(self, roles: dict[str, Role]) -> None:
        for role in roles.values():
            for each in role.ended:
                at = self.findings.seconds(int(each.at * 1e6))
                last = each.log.strip().splitlines()[-1:] or [""]
                self.findings.remarks.append(
                    f"{each.service} ended by itself at +{at:.1f} s, code {each.code}: {last[0]}"
                )

    def _judge(self, plant: Plant, kept: Kept, goal: Goal, records: RecordReader, finished_us: int) -> None:
        findings = self.findings
        ledger = plant.exchange.ask("/ledger")
        truth = read_ledger(ledger)
        findings.sent = truth.total()
        findings.gaps = Counter(kept.gap_reasons)
        promised = {*MARKET_FAMILIES, *PERP_FAMILIES} - NOT_LOOKED_FOR
        emptied_us = self._emptied_us()
        findings.losses = losses(truth, kept, promised, finished_us, emptied_us)
        not_looked_for = losses(truth, kept, NOT_LOOKED_FOR, finished_us, emptied_us)
        findings.not_looked_for = sum(each.count for each in not_looked_for)
        for what, find in (
            ("books", lambda: self._judge_books(plant, truth, kept, goal)),
            ("records", lambda: self._judge_records(plant, truth, kept, records)),
            ("books as of past moments", lambda: self._judge_past(plant, truth, finished_us)),
        ):
            try:
                find()
            except Exception:  # noqa: BLE001  # the other findings are still reported
                findings.broken.append(f"{what} could not be judged: {traceback.format_exc(limit=-3)}")
        save(findings, self._folder, ledger, kept.gaps, kept.received)

    def _emptied_us(self) -> dict[str, int]:
        """By stream spec, when its topic was last recreated."""
        found: dict[str, int] = {}
        for fault, over_at in self._happened:
            if fault.kind == "topic-recreated":
                kind = fault.options["topic"].removeprefix("market.")
                found[kind] = max(found.get(kind, 0), self.findings.began_us + int(over_at * 1e6))
        return found

    def _judge_records(self, plant: Plant, truth: Truth, kept: Kept, records: RecordReader) -> None:
        for name, given in (("records", records.given), ("beginning", read_from_the_beginning(plant))):
            found = judge_records(given, kept.records, truth.messages, FAMILIES)
            self.findings.records[name] = self._without_changed_topics(found)

    def _judge_past(self, plant: Plant, truth: Truth, finished_us: int) -> None:
        """Judge the output of `book --at` for random moments of the campaign."""
        moments = moments_between(self._plan.seed, self._moments, self.findings.began_us, finished_us)
        times, books = book_times(truth), exchange_books(plant.exchange)
        self.findings.past = judge_past_moments(plant.bootstrap_servers, plant.prefix, moments, times, books)

    def _without_changed_topics(self, found: RecordFindings) -> RecordFindings:
        """Drop findings if a topic was changed: a recreated topic lost its records, and moved keys have the order of two partitions."""
        if any(each.kind in TOPIC_FAULTS for each in self._plan.faults):
            self.findings.remarks += [f"not judged, since a topic was changed: {each}" for each in found.problems]
            return RecordFindings(found.given, found.holes, found.late)
        return found

    def _judge_books(self, plant: Plant, truth: Truth, kept: Kept, goal: Goal) -> None:
        was_stepped = any(
            each.kind == "clock-stepped" and each.options["service"] == "book-builder" for each in self._plan.faults
        )
        tops = sights_of_tops(kept.book_tops, was_stepped)
        self._judge_tops_recovery(plant, tops, goal, was_stepped)
        checkpoints = sights_of_checkpoints(kept.checkpoints)
        sights = [*self._sights, *_some(tops, _TOPS_JUDGED), *_some(checkpoints, _CHECKPOINTS_JUDGED)]
        self.findings.sights = Counter(each.reader for each in sights if each.status == "LIVE")
        self.findings.wrongs = wrong_sights(plant.exchange, truth, sights)
        if not any(each.kind == "clock-stepped" for each in self._plan.faults):  # `as_of` is by a producer's clock
            self.findings.overclaims = judge.overclaims(sights, book_times(truth))

    def _judge_tops_recovery(
        self, plant: Plant, tops: Sequence[judge.Sight], goal: Goal, clock_was_wrong: bool
    ) -> None:
        shows = shows_as_of(exchange_books(plant.exchange))
        seconds, missing = seconds_until_back(tops, goal.symbols, goal.sequences, goal.at_us, shows)
        if seconds > RECOVERY_SECONDS and not clock_was_wrong:
            missing.append(f"back after {seconds:.0f} s only")
        self.findings.not_recovered += [f"{TOP}: {each}" for each in missing]
        if not missing:
            self.findings.recovered[TOP] = seconds


def _lines(lacking: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{name}: {each}" for name, books in lacking.items() for each in books]


def _some(sights: Sequence[judge.Sight], most: int) -> Sequence[judge.Sight]:
    return sights[:: max(1, len(sights) // most)]
