"""Two market-producers in parallel, killed in turn: readers of books see neither a gap nor a duplicate."""

import time
from itertools import pairwise
from pathlib import Path

from backpack_streams.books import Outcome, Status
from embedded_kafka import BlockingKafka
from plant import Plant, Service, running_plant, wait_until
from reading import read_topic
from witness import Witness

SYMBOLS = 3
FRAMES = 9_000
RATE = 300
KILLS = 6


def start(plant: Plant) -> Service:
    return plant.start_ready("market-producer", "--streams", "depth")


def test_two_producers_killed_in_turn_show_no_gap_and_no_duplicate(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "sides.") as plant:
        exchange = plant.start_exchange(
            *("--symbols", str(SYMBOLS), "--rate", str(RATE), "--frames", str(FRAMES), "--start", "control")
        )
        plant.start_ready("rest-poller")
        sides = [start(plant), start(plant)]
        exchange.play()
        with Witness(plant) as witness:
            wait_until("all books are LIVE", lambda: witness.sees_live(SYMBOLS))
            for turn in range(KILLS):
                sides[turn % 2].kill()
                time.sleep(0.5)  # the other one brings the updates that the killed one misses
                sides[turn % 2] = start(plant)
            exchange.wait_finished()
            truth = exchange.ask("/books")
            wait_until("all was read", lambda: witness.reached() == {s: b["last_update_id"] for s, b in truth.items()})
        assert witness.duplicates > 0, "both producers did publish"
        depth = read_topic(plant.bootstrap_servers, "sides.market.depth", None)
        assert len(depth) > FRAMES
        for symbol in truth:
            since_live = witness.since_live(symbol)
            assert {sight.status for sight in since_live} == {Status.LIVE}
            applied = [sight.last_update_id or 0 for sight in since_live if sight.outcome is Outcome.APPLIED]
            assert all(after > before for before, after in pairwise(applied))
            assert Outcome.DUPLICATE not in {sight.outcome for sight in witness.seen[symbol]}
        for symbol, row in plant.books(*truth).items():
            assert all(row[key] == truth[symbol][key] for key in ("last_update_id", "bids", "asks"))
