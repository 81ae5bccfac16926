"""Two market-producers side by side, killed in turn: whoever reads the books sees neither a gap nor a duplicate."""

import asyncio
import threading
import time
from itertools import pairwise
from pathlib import Path

from backpack_streams.books import BookStream, Outcome, Status
from backpack_streams.embedded import BlockingKafka
from plant import Plant, Service, running_plant, wait_until
from reading import read_topic

SYMBOLS = 3
FRAMES = 9_000
RATE = 300
KILLS = 6

Seen = dict[str, list[tuple[Status, Outcome, int | None]]]


class Reader:
    """Takes note of everything that is given of every book."""

    def __init__(self, plant: Plant) -> None:
        self.seen: Seen = {}
        self.duplicates = 0
        self.failure: Exception | None = None
        self._stop = threading.Event()
        self._plant = plant
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except Exception as error:  # noqa: BLE001  # handed to the test, whatever it is
            self.failure = error

    async def _read(self) -> None:
        async with BookStream(self._plant.bootstrap_servers, topic_prefix=self._plant.prefix) as books:
            async for updates in books.rounds():
                for update in updates:
                    self.seen.setdefault(update.symbol, []).append(
                        (update.status, update.outcome, update.last_update_id)
                    )
                self.duplicates = sum(market.duplicates for market in books.books.values())
                if self._stop.is_set():
                    return

    def all_live(self) -> bool:
        assert self.failure is None, self.failure
        return len(self.seen) == SYMBOLS and all(states[-1][0] is Status.LIVE for states in self.seen.values())

    def reached(self, symbol: str, last_id: int) -> bool:
        assert self.failure is None, self.failure
        return self.seen[symbol][-1][2] == last_id

    def stop(self) -> None:
        self._stop.set()
        self.thread.join(20)


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
        reader = Reader(plant)
        try:
            wait_until("all books are LIVE", reader.all_live)
            first_live = {symbol: len(states) - 1 for symbol, states in reader.seen.items()}
            for turn in range(KILLS):
                sides[turn % 2].kill()
                time.sleep(0.5)  # what the killed one would have brought, the other one brings
                sides[turn % 2] = start(plant)
            exchange.wait_finished()
            truth = exchange.ask("/books")
            for symbol, book in truth.items():
                last_id = book["last_update_id"]
                wait_until("all was read", lambda s=symbol, i=last_id: reader.reached(s, i))  # type: ignore[misc]  # bound now
        finally:
            reader.stop()
        assert reader.duplicates > 0, "both producers did publish"
        depth = read_topic(plant.bootstrap_servers, "sides.market.depth", None)
        assert len(depth) > FRAMES
        for symbol, states in reader.seen.items():
            since_live = states[first_live[symbol] :]
            assert {status for status, _, _ in since_live} == {Status.LIVE}
            applied = [last_id or 0 for _, outcome, last_id in since_live if outcome is Outcome.APPLIED]
            assert all(after > before for before, after in pairwise(applied))
            assert Outcome.DUPLICATE not in {outcome for _, outcome, _ in states}
        for symbol, row in plant.books(*truth).items():
            assert all(row[key] == truth[symbol][key] for key in ("last_update_id", "bids", "asks"))
