"""Starts a campaign's cluster and services."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from embedded_kafka import BlockingKafka, EmbeddedKafka
from faults.campaign import clock as clocks
from faults.campaign.markets import MARKET_FAMILIES, PERP_FAMILIES
from faults.campaign.roles import Role
from faults.campaign.schedule import SECOND, Schedule
from faults.campaign.surroundings import Surroundings, running_surroundings
from plant import Plant, Service

_OPTIONS = {
    "market-producer": ("--streams", ",".join(MARKET_FAMILIES), "--market-refresh", "5"),
    "perp-producer": ("--streams", ",".join(PERP_FAMILIES), "--market-refresh", "5"),
    "rest-poller": (
        *("--market-refresh", "5", "--ticker-refresh", "0", "--ticker-1w-refresh", "0", "--mark-price-refresh", "0"),
        *("--open-interest-refresh", "0", "--catalogue-refresh", "0", "--history-refresh", "0"),
        *("--lending-refresh", "0", "--funding-rate-refresh", "0", "--asset-refresh", "0", "--status-refresh", "0"),
    ),
    "book-builder": (),
    "gateway": ("--no-access-log",),
}


class Cluster(NamedTuple):
    """The brokers, and the surroundings of the plant if there are platform faults."""

    kafka: BlockingKafka
    surroundings: Surroundings | None = None


@contextmanager
def running_cluster(plan: Schedule, folder: Path) -> Iterator[Cluster]:
    """Three brokers as the faults of a schedule need them: three replicas, two of them in sync, and small heaps."""
    os.environ.setdefault("_JAVA_OPTIONS", "-Xmx256m")
    if plan.is_of_platform:
        with running_surroundings(folder, plan.count("certificates-rotated")) as surroundings:
            yield Cluster(surroundings.kafka, surroundings)
    else:
        with BlockingKafka(EmbeddedKafka(folder / "kafka", port=0, brokers=3)) as kafka:
            yield Cluster(kafka)


def role_of(plant: Plant, name: str, plan: Schedule, folder: Path, *more: str) -> Role:
    """One service of a campaign, with its own clock if the schedule steps it. `more`: its extra options."""
    kind = "market-producer" if name == SECOND else name
    is_stepped = any(each.kind == "clock-stepped" and each.options["service"] == name for each in plan.faults)
    preload = clocks.library()
    clock = clocks.Clock(folder / f"{name}.clock", preload) if is_stepped and preload else None

    def start(environment: dict[str, str] | None) -> Service:
        return plant.start(kind, *_OPTIONS[kind], *more, environment=environment, log=folder / f"{name}.log")

    return Role(name, start, clock)
