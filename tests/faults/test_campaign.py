"""Short campaigns of tolerated faults: nothing lost without a record, no wrong book LIVE, everything healed.

`make campaign` runs longer ones, with every kind of fault.
"""

from pathlib import Path

import pytest

from embedded_kafka import BlockingKafka
from faults.campaign.campaign import Campaign
from faults.campaign.gateway_readers import GATEWAY_READERS
from faults.campaign.readers import BOOK_READERS
from faults.campaign.schedule import schedule
from faults.campaign.sights import COMMAND, TOP
from faults.campaign.starting import Cluster

SECONDS = 22.0
RATE = 120.0
MOMENTS = 10


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("seed", "doubled", "struck", "kinds"),
    [
        (
            111,
            True,
            ("market-producer-2", "rest-poller", "book-builder", "gateway"),
            ("kill", "kill-twice", "terminate", "close"),
        ),
        (
            208,
            False,
            ("rest-poller", "book-builder"),
            ("kill", "terminate", "cut", "close", "rest-cut", "leader-moved"),
        ),
        (
            436,
            False,
            ("market-producer", "perp-producer"),
            ("kill", "kill-and-silence", "ignore-all", "error-frames", "markets-empty", "half-open"),
        ),
        # Markets move unseen, fall silent, and REST answers with old data.
        (98, False, ("market-producer", "perp-producer"), ("kill", "kill-and-silence", "rest-old")),
    ],
)
def test_a_short_campaign_finds_nothing(
    kafka_cluster: BlockingKafka,
    tmp_path: Path,
    seed: int,
    doubled: bool,
    struck: tuple[str, ...],
    kinds: tuple[str, ...],
) -> None:
    plan = schedule(seed, SECONDS, kinds=kinds, doubled=doubled, struck=struck)
    assert len(plan.faults) >= 4
    findings = Campaign(Cluster(kafka_cluster), tmp_path, plan, RATE, MOMENTS).run()
    assert not findings.failed, findings.details()
    assert findings.sent > SECONDS * RATE
    assert {*BOOK_READERS, *GATEWAY_READERS, COMMAND, TOP} <= set(
        findings.sights
    )  # half a minute may be too short for a checkpoint
    assert all(each.given > findings.sent / 10 for each in findings.records.values())
    assert findings.past.statuses["LIVE"] > 0
