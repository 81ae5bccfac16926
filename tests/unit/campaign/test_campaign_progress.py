"""A service is stuck if it makes no progress for longer than the bound after the cause of its trouble was over."""

import pytest

from faults.campaign.progress import METRICS, Happened, Look, Progress, Stuck, work_of
from faults.campaign.schedule import Fault

STEP = 3


def watched(*spans: tuple[int, int, bool], service: str = "rest-poller", process: int = 1) -> Progress:
    """Looked at every three seconds: from, to, and whether it works then."""
    progress = Progress(service)
    done = 0.0
    for start, end, works in spans:
        for at in range(start, end, STEP):
            done += works
            progress.look(Look(float(at), process, (done, done)))
    return progress


def happened(kind: str, at: float, over_at: float, **options: object) -> Happened:
    return Happened(Fault(at, kind, over_at - at, options), over_at)


def test_who_works_all_along_is_not_stuck():
    assert watched((0, 600, True)).stuck([]) == []


def test_who_goes_on_within_the_bound_is_not_stuck():
    assert watched((0, 60, True), (60, 170, False), (170, 300, True)).stuck([]) == []


def test_who_stops_for_good_is_stuck():
    assert watched((0, 60, True), (60, 300, False)).stuck([]) == [Stuck("rest-poller", 57.0, 297.0)]


def test_who_goes_on_too_late_was_stuck():
    found = watched((0, 60, True), (60, 210, False), (210, 600, True)).stuck([])
    assert found == [Stuck("rest-poller", 57.0, 210.0)]


def test_the_bound_counts_from_the_end_of_the_cause():
    progress = watched((0, 60, True), (60, 240, False))
    broker = happened("broker-killed", 50.0, 140.0, broker=1)
    assert progress.stuck([broker]) == []
    assert progress.stuck([happened("broker-killed", 50.0, 100.0, broker=1)]) == [Stuck("rest-poller", 100.0, 237.0)]


def test_what_begins_later_is_no_excuse_unless_it_strikes_the_service_itself():
    progress = watched((0, 60, True), (60, 240, False))
    assert progress.stuck([happened("broker-killed", 90.0, 140.0, broker=1)])
    assert progress.stuck([happened("kill", 90.0, 140.0, service="book-builder")])
    assert progress.stuck([happened("kill", 90.0, 140.0, service="rest-poller")]) == []


def test_what_begins_while_a_new_process_starts_is_its_trouble_too():
    progress = watched((0, 60, True))
    for at in range(60, 300, STEP):
        progress.look(Look(float(at), 2))  # killed, started again, and never there
    killed = happened("kill", 58.0, 61.0, service="rest-poller")
    assert progress.stuck([killed]) == [Stuck("rest-poller", 61.0, 297.0)]
    assert progress.stuck([killed, happened("broker-killed", 90.0, 180.0, broker=1)]) == []


def test_what_was_over_before_the_process_went_is_no_trouble_of_the_next_one():
    progress = watched((0, 60, True), (60, 150, False))
    for at in range(150, 300, STEP):
        progress.look(Look(float(at), 2))
    assert progress.stuck([happened("broker-killed", 90.0, 140.0, broker=1)]) == [Stuck("rest-poller", 57.0, 297.0)]


def test_a_kill_of_both_producers_strikes_each():
    for service in ("market-producer", "market-producer-2"):
        progress = watched((0, 60, True), (60, 240, False), service=service)
        assert progress.stuck([happened("kill-and-silence", 90.0, 140.0, symbol="X")]) == []


def test_each_number_has_to_grow():
    progress = Progress("book-builder")
    for at in range(0, 200, STEP):
        progress.look(Look(float(at), 1, (float(at), 5.0)))
    assert progress.stuck([]) == [Stuck("book-builder", 0.0, 198.0)]


def test_numbers_may_take_turns_in_growing():
    progress = Progress("rest-poller")
    for at in range(0, 600, STEP):
        progress.look(Look(float(at), 1, (at // 12.0, (at + 6) // 12.0)))
    assert progress.stuck([]) == []
    assert progress.last_at > 580


def test_starting_again_and_again_is_no_progress():
    progress = watched((0, 60, True))
    for at in range(60, 300, STEP):
        progress.look(Look(float(at), at, (1000.0 + at, 1000.0)))  # what a new process finds done is not its work
        progress.look(Look(at + 1.0, 0))
    assert progress.stuck([]) == [Stuck("rest-poller", 57.0, 298.0)]


def test_who_is_never_seen_is_stuck():
    progress = Progress("rest-poller")
    progress.look(Look(130.0, 0))
    assert progress.stuck([]) == [Stuck("rest-poller", 0.0, 130.0)]


def metrics(**values: float) -> dict[str, float]:
    return {**dict.fromkeys(METRICS, 0.0), **values}


@pytest.mark.parametrize(
    ("service", "seen", "work"),
    [
        ("market-producer-2", metrics(watermark_age_seconds=2.0), (98.0,)),
        ("perp-producer", metrics(watermark_age_seconds=30.0), (70.0,)),
        (
            "rest-poller",
            metrics(rest_polls_total=9, rest_poll_failures_total=4, publish_unacknowledged_seconds=60),
            (5, 40),
        ),
        ("book-builder", metrics(builder_updates_total=7, book_tops_total=3), (7, 3, 100)),
    ],
)
def test_the_work_of_each_service(service, seen, work):
    assert work_of(service, seen, 100.0) == work


def test_no_watermark_is_no_progress_and_the_first_one_a_beginning():
    progress = Progress("perp-producer")
    for at in range(0, 150, STEP):
        progress.look(Look(float(at), 1, work_of("perp-producer", metrics(watermark_age_seconds=float("nan")), at)))
    assert progress.stuck([])
    progress = Progress("perp-producer")
    for at in range(0, 600, STEP):
        age = 1.0 if at > 20 else float("nan")
        progress.look(Look(float(at), 1, work_of("perp-producer", metrics(watermark_age_seconds=age), at)))
    assert progress.stuck([]) == []
