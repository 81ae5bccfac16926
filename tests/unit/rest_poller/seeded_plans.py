"""Snapshot plans as tests set them up, and the requests that are due."""

import random

from backpack_streams.rest_poller.snapshot_plan import SnapshotPlan, SnapshotRequest

REFRESH = 600.0


def plan_of(*symbols: str, refresh: float = REFRESH, rng: random.Random | None = None) -> SnapshotPlan:
    plan = SnapshotPlan(refresh, rng)
    plan.set_open(symbols, 0.0)
    return plan


def drained(plan: SnapshotPlan, now: float) -> list[SnapshotRequest]:
    """Every due request, in order."""
    requests = []
    while (request := plan.next(now)) is not None:
        requests.append(request)
    return requests


def seeded(*symbols: str, at_id: int = 100, refresh: float = REFRESH) -> SnapshotPlan:
    plan = plan_of(*symbols, refresh=refresh)
    for request in drained(plan, 0.0):
        plan.done(request, at_id, 0.0)
    return plan
