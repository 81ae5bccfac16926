"""One campaign: starts the plant, lets the schedule happen, waits for it to recover, and has everything judged."""

import logging
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from backpack_streams.embedded import BlockingKafka, EmbeddedKafka
from faults.campaign import clock as clocks
from faults.campaign import judge
from faults.campaign.injecting import Injector
from faults.campaign.kept import Kept, read_kept
from faults.campaign.markets import BUSY, MARKET_FAMILIES, MARKETS, NOT_LOOKED_FOR, PERP_FAMILIES, SLOW
from faults.campaign.readers import (
    LibraryReader,
    look_with_command,
    now_us,
    sights_of_tops,
    trades_given_twice,
    unpacked,
)
from faults.campaign.report import Findings, save
from faults.campaign.roles import Role
from faults.campaign.schedule import SECOND, Fault, Schedule
from faults.campaign.truth import BookTimes, Truth, read_ledger
from plant import Plant, Service, running_plant

logger = logging.getLogger(__name__)

RECOVERY_SECONDS = 60.0
"""All books of open markets are LIVE and equal that soon after the last fault."""

_DRAIN_SECONDS = 30.0
_LEDGER_MESSAGES = 400_000
_TOPS_JUDGED = 400
_ALL = "all"

_OPTIONS = {
    "market-producer": ("--streams", ",".join(MARKET_FAMILIES), "--market-refresh", "5"),
    "perp-producer": ("--streams", ",".join(PERP_FAMILIES), "--market-refresh", "5"),
    "rest-poller": (
        *("--market-refresh", "5", "--ticker-refresh", "0", "--ticker-1w-refresh", "0", "--mark-price-refresh", "0"),
        *("--open-interest-refresh", "0", "--catalogue-refresh", "0", "--history-refresh", "0"),
        *("--lending-refresh", "0", "--funding-rate-refresh", "0", "--asset-refresh", "0", "--status-refresh", "0"),
    ),
    "book-builder": (),
}


def small_cluster(folder: Path) -> EmbeddedKafka:
    """Three brokers that share a small machine: three replicas, two of them in sync, and small heaps."""
    os.environ.setdefault("_JAVA_OPTIONS", "-Xmx256m")
    return EmbeddedKafka(folder / "kafka", port=0, brokers=3)


class Campaign:
    """One run of a schedule."""

    def __init__(self, cluster: BlockingKafka, folder: Path, plan: Schedule, rate: float) -> None:
        """`rate`: depth frames a second over all markets."""
        self._cluster = cluster
        self._folder = folder
        self._plan = plan
        self._rate = rate
        self._sights: list[judge.Sight] = []
        self._findings = Findings(plan, 0)

    def run(self) -> Findings:
        """Run it to its end; what was found lies in the folder too."""
        self._folder.mkdir(parents=True, exist_ok=True)
        prefix = f"campaign-{self._plan.seed}."
        with ExitStack() as stack:
            plant = stack.enter_context(running_plant(self._cluster.bootstrap_servers, self._folder, prefix))
            plant.start_exchange(
                *("--symbols", str(MARKETS), "--rate", str(self._rate), "--grace-seconds", "5"),
                *("--ledger-messages", str(_LEDGER_MESSAGES), "--open-interest-seconds", "5"),
            )
            for symbol, weight in {**BUSY, **SLOW}.items():
                plant.exchange.order("pace", symbol=symbol, weight=weight)
            roles = {name: self._role(plant, name) for name in self._plan.services}
            self._findings.began_us = now_us()
            began = time.monotonic()
            for role in roles.values():
                role.begin()
                stack.callback(role.end)
            with LibraryReader(plant) as library:
                self._let_happen(plant, roles, began)
                self._recover(plant, library)
                finished_us = self._finish(plant, library)
            self._sights += library.sights
            self._findings.remarks += [f"the library failed: {each}" for each in library.failures]
            self._note_ends(roles)
            self._judge(plant, finished_us)
        return self._findings

    def _role(self, plant: Plant, name: str) -> Role:
        kind = "market-producer" if name == SECOND else name
        is_stepped = any(each.kind == "clock-stepped" and each.options["service"] == name for each in self._plan.faults)
        preload = clocks.library()
        clock = clocks.Clock(self._folder / f"{name}.clock", preload) if is_stepped and preload else None

        def start(environment: dict[str, str] | None) -> Service:
            log = self._folder / f"{name}.log"
            return plant.start(kind, *_OPTIONS[kind], environment=environment, log=log)

        return Role(name, start, clock)

    def _let_happen(self, plant: Plant, roles: dict[str, Role], began: float) -> None:
        """All faults and looks at their moments, on threads of their own; returns when the last one is over."""
        injector = Injector(plant, self._cluster, roles)
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
        self._findings.remarks += injector.remarks

    def _perform(self, injector: Injector, plant: Plant, fault: Fault | None) -> None:
        try:
            if fault is None:
                self._sights += look_with_command(plant)
            else:
                logger.info("%s", fault)
                injector.perform(fault)
        except Exception:  # noqa: BLE001  # the campaign goes on; whoever reads the report shall know
            self._findings.remarks.append(f"{fault or 'a look'} failed: {traceback.format_exc(limit=3)}")

    def _recover(self, plant: Plant, library: LibraryReader) -> None:
        """Wait until all books of open markets have reached what the exchange had when the last fault was over."""
        over = time.monotonic()
        goal = plant.exchange.ask("/sequences")
        behind: list[str] = []
        while time.monotonic() < over + RECOVERY_SECONDS:
            behind = self._behind(plant, library, goal)
            if not behind:
                self._findings.recovered_seconds = time.monotonic() - over
                return
            time.sleep(0.5)
        self._findings.not_recovered = behind

    def _behind(self, plant: Plant, library: LibraryReader, goal: dict[str, Any]) -> list[str]:
        now, sights = plant.exchange.ask("/sequences"), library.newest()
        behind = []
        for symbol in plant.exchange.ask("/books"):
            sight = sights.get(symbol)
            reached = None if sight is None else sight.last_update_id
            if sight is None or reached is None or sight.status != "LIVE":
                behind.append(f"{symbol}: {'no book' if sight is None else sight.status}")
            elif not goal[symbol]["depth"]["last_update_id"] <= reached <= now[symbol]["depth"]["last_update_id"]:
                behind.append(f"{symbol}: LIVE at {reached}, the exchange was at {goal[symbol]['depth']}")
        return behind

    def _finish(self, plant: Plant, library: LibraryReader) -> int:
        """End the flow, wait for the rest of it to arrive, and compare all books once more; gives when it ended."""
        plant.exchange.finish()
        finished_us = now_us()
        goal = plant.exchange.ask("/sequences")
        deadline = time.monotonic() + _DRAIN_SECONDS
        unequal: list[str] = []
        while time.monotonic() < deadline:
            unequal = self._behind(plant, library, goal)
            if not unequal and time.monotonic() > deadline - _DRAIN_SECONDS + 3:
                break  # what the clock makes arrives meanwhile
            time.sleep(0.5)
        self._findings.at_the_end = [f"library: {each}" for each in unequal]
        shown = {each.symbol: each for each in look_with_command(plant)}
        self._sights += shown.values()
        for symbol, truth in plant.exchange.ask("/books").items():
            row = shown.get(symbol)
            if row is None or row.status != "LIVE" or row.last_update_id != truth["last_update_id"]:
                what = "no book" if row is None else f"{row.status} at {row.last_update_id}"
                self._findings.at_the_end.append(f"command: {symbol}: {what}, not LIVE at {truth['last_update_id']}")
        return finished_us

    def _note_ends(self, roles: dict[str, Role]) -> None:
        for role in roles.values():
            for each in role.ended:
                at = self._findings.seconds(int(each.at * 1e6))
                last = each.log.strip().splitlines()[-1:] or [""]
                self._findings.remarks.append(
                    f"{each.service} ended by itself at +{at:.1f} s, code {each.code}: {last[0]}"
                )

    def _judge(self, plant: Plant, finished_us: int) -> None:
        findings = self._findings
        ledger = plant.exchange.ask("/ledger")
        truth = read_ledger(ledger)
        findings.sent = truth.total()
        kept = read_kept(plant.bootstrap_servers, plant.prefix, (*MARKET_FAMILIES, *PERP_FAMILIES))
        findings.gaps = Counter(kept.gap_reasons)
        promised = {*MARKET_FAMILIES, *PERP_FAMILIES} - NOT_LOOKED_FOR
        findings.losses = losses(truth, kept, promised, finished_us)
        findings.not_looked_for = sum(each.count for each in losses(truth, kept, NOT_LOOKED_FOR, finished_us))
        self._judge_books(plant, truth, kept)
        _, findings.twice = trades_given_twice(plant)
        save(findings, self._folder, ledger, kept.gaps)

    def _judge_books(self, plant: Plant, truth: Truth, kept: Kept) -> None:
        was_stepped = any(
            each.kind == "clock-stepped" and each.options["service"] == "book-builder" for each in self._plan.faults
        )
        tops = sights_of_tops(kept.book_tops, was_stepped)
        every = max(1, len(tops) // _TOPS_JUDGED)
        sights = sorted([*self._sights, *tops[::every]], key=lambda sight: sight.wall_us)
        times = {
            symbol: BookTimes(listings, truth.messages.get(("depth", symbol), ()))
            for symbol, listings in truth.listings.items()
        }

        @lru_cache(maxsize=4096)
        def book(symbol: str, update_id: int) -> Any:
            try:
                return plant.exchange.ask(f"/books/{symbol}?at={update_id}")
            except HTTPError:
                return None

        self._findings.sights = Counter(each.reader for each in sights if each.status == "LIVE")
        self._findings.wrongs = judge.wrong_books(sights, times, book, unpacked)


def losses(truth: Truth, kept: Kept, families: Collection[str], until_us: int) -> list[judge.Loss]:
    """What the streams of these families have lost without a record, of all markets."""
    found: list[judge.Loss] = []
    for (family, symbol), messages in truth.messages.items():
        if family not in families:
            continue
        gaps = [each for each in kept.gaps if each.family == family and each.symbol in (symbol, "")]
        records, letters = (each.get((family, symbol), set()) for each in (kept.records, kept.letters))
        since_us = kept.first_covered_us(family, symbol)
        if since_us is not None:  # a clock that was stepped may say that it was before the exchange was ever asked
            asked_us = [truth.subscribed_us.get(each, since_us) for each in (f"{family}.{symbol}", family)]
            since_us = max(since_us, *asked_us)
        received = kept.received.get((family, symbol), {})
        found += judge.lost_messages(
            messages, records, gaps, letters, since_us=since_us, until_us=until_us, received=received
        )
    return sorted(found, key=lambda loss: loss.first.wall_us)
