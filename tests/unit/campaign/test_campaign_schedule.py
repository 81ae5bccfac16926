"""The schedule of a campaign is a pure function of its seed, and keeps to what the judge and a small cluster can bear."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.campaign.markets import CLOSES, FALLS_SILENT
from faults.campaign.schedule import GATEWAY, KINDS, PLATFORM_FAULTS, SECOND, TOPIC_FAULTS, schedule

SEEDS = st.integers(0, 100_000)
BROKER_FAULTS = ("broker-killed", "broker-frozen", "leader-moved", "addresses-moved", "certificates-rotated")


@given(SEEDS)
def test_the_same_seed_makes_the_same_schedule(seed):
    assert schedule(seed, 120) == schedule(seed, 120)


def test_a_seed_means_the_same_faults_for_good():
    """Who readers are, and what is judged, changes nothing of what happens: a seed that found something finds it again."""
    assert digest() == "4387facaee9fa8d9b462a283c0b032d75f9cdb72ad9dc690a71bfe9c50735545"
    assert digest(with_topic_faults=True) == "a3ab12c155a73e62b6e5d3c6ba56a7fb0273ca07c6b249cb08dd8bfee06a219a"


def digest(**options):
    plans = [schedule(seed, 300, **options) for seed in range(1, 11)]
    others = [
        replace(plan, faults=tuple(each for each in plan.faults if each.options.get("service") != GATEWAY))
        for plan in plans
    ]
    return hashlib.sha256("\n".join(map(str, others)).encode()).hexdigest()


@given(SEEDS)
def test_the_gateway_is_struck_too(seed):
    kinds = [each.kind for each in schedule(seed, 300).faults if each.options.get("service") == GATEWAY]
    assert len(kinds) >= 2
    assert set(kinds) <= {"kill", "kill-twice", "terminate", "freeze"}


def test_an_old_answer_after_a_market_fell_silent_comes_up():
    """The exchange's REST side lags for seconds while nothing moves any more: a right, quiet book is not to be replaced."""
    found = 0
    for seed in range(1, 60):
        faults = schedule(seed, 300).faults
        silent_at = min((each.at + each.lasts for each in faults if each.kind.endswith("-and-silence")), default=300.0)
        found += any(each.kind == "rest-old" and 5 <= each.lasts <= 15 and each.at > silent_at for each in faults)
    assert found >= 10


def test_other_seeds_make_other_schedules():
    assert len({str(schedule(seed, 120).faults) for seed in range(50)}) == 50


@given(SEEDS)
def test_all_faults_are_over_at_the_end(seed):
    plan = schedule(seed, 90)
    assert plan.faults
    assert all(each.at > 0 and each.at + each.lasts <= 90 for each in plan.faults)
    assert all(0 < at < 90 for at in plan.looks)


@given(SEEDS)
def test_something_happens_to_a_service_while_it_starts(seed):
    first = schedule(seed, 120).faults[0]
    assert first.kind in ("kill", "kill-twice", "terminate", "freeze")
    assert first.at < 30


@given(SEEDS)
def test_each_market_falls_silent_or_closes_once_at_the_most(seed):
    faults = schedule(seed, 1200).faults
    used = Counter(each.options["symbol"] for each in faults if each.kind.endswith("-silence"))
    closed = Counter(each.options["symbol"] for each in faults if each.kind.startswith("market-"))
    assert set(used) <= set(FALLS_SILENT)
    assert set(closed) <= set(CLOSES)
    assert not [symbol for symbol, times in (used + closed).items() if times > 1]


@given(SEEDS)
def test_brokers_are_never_in_trouble_two_at_a_time(seed):
    free_at = 0.0
    for fault in schedule(seed, 600, with_platform_faults=True).faults:
        if fault.kind in BROKER_FAULTS:
            assert fault.at >= free_at
            free_at = fault.at + fault.lasts + 20


@given(SEEDS)
def test_only_services_that_run_are_named(seed):
    plan = schedule(seed, 300)
    named = {each.options["service"] for each in plan.faults if "service" in each.options}
    assert named <= set(plan.services)
    assert (SECOND in plan.services) is plan.doubled


def test_every_kind_of_fault_comes_up():
    happened = {fault.kind for seed in range(60) for fault in schedule(seed, 300).faults}
    assert happened == KINDS - TOPIC_FAULTS - PLATFORM_FAULTS
    plans = [schedule(seed, 300, with_topic_faults=True, with_platform_faults=True) for seed in range(60)]
    assert {fault.kind for plan in plans for fault in plan.faults} == KINDS


def test_platform_faults_come_up_in_campaigns_of_minutes():
    plans = [schedule(seed, 300, with_platform_faults=True) for seed in range(1, 11)]
    for kind in PLATFORM_FAULTS:
        assert sum(plan.count(kind) > 0 for plan in plans) >= 4
    assert all(plan.is_of_platform for plan in plans)
    assert not schedule(1, 300, with_topic_faults=True).is_of_platform


@given(SEEDS)
def test_a_broker_is_back_before_the_second_file_is_replaced(seed):
    for fault in schedule(seed, 300, with_platform_faults=True).faults:
        if fault.kind == "certificates-rotated":
            assert fault.options["broker_after"] + 8 <= fault.lasts


def test_only_the_kinds_asked_for():
    kinds = {fault.kind for seed in range(20) for fault in schedule(seed, 120, kinds=["cut", "close"]).faults}
    assert kinds == {"cut", "close"}
    with pytest.raises(ValueError, match="'earthquake'"):
        schedule(1, 60, kinds=["earthquake"])


def test_only_the_services_asked_for():
    plans = [schedule(seed, 120, doubled=True, struck=[SECOND, "rest-poller"]) for seed in range(20)]
    named = {each.options["service"] for plan in plans for each in plan.faults if "service" in each.options}
    assert named == {SECOND, "rest-poller"}


def test_doubled_by_the_seed_or_as_asked_for():
    assert {schedule(seed, 30).doubled for seed in range(20)} == {True, False}
    assert {schedule(seed, 30, doubled=True).doubled for seed in range(20)} == {True}
