"""Programs that leave their loop every three items, in each possible way, and come back: they miss nothing and get nothing twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backpack_streams.books import BookUpdate, Outcome
from embedded_kafka import BlockingKafka
from faults.campaign.kept import read_records
from faults.campaign.readers import BookReader, StreamReader, SyncReader, lag_and_leave, leave
from faults.campaign.record_judge import judge_records
from faults.campaign.record_readers import FAMILIES, RecordReader
from faults.campaign.recovery import behind
from faults.campaign.truth import Truth, read_ledger
from faults.campaign.verdicts import wrong_sights
from plant import Plant, running_plant, wait_until

MARKETS = 5
FRAMES = 3000
SECONDS = 30.0


class Leaving(StreamReader):
    """Records each update it gets."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant, "leaving", leave)
        self.applied: dict[str, list[int]] = {}

    def _given(self, update: BookUpdate) -> None:
        super()._given(update)
        if update.outcome is Outcome.APPLIED and update.last_update_id is not None:
            self.applied.setdefault(update.symbol, []).append(update.last_update_id)


def lacking(plant: Plant, reader: BookReader) -> list[str]:
    sequences = plant.exchange.ask("/sequences")
    return behind(reader.standing(), plant.exchange.ask("/books"), sequences, sequences)


@contextmanager
def quiet_plant(kafka: BlockingKafka, folder: Path, prefix: str) -> Iterator[Plant]:
    """A plant whose exchange waits for `play`. There is no book-builder, whose checkpoints would repair a reader's losses."""
    with running_plant(kafka.bootstrap_servers, folder, prefix) as plant:
        plant.start_exchange(
            *("--symbols", str(MARKETS), "--rate", "300", "--frames", str(FRAMES), "--start", "control"),
            *("--ledger-messages", str(10 * FRAMES)),
        )
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth,trade")
        yield plant


@pytest.mark.timeout(240)
def test_a_program_that_leaves_its_loop_gets_every_book_and_every_update(kafka: BlockingKafka, tmp_path: Path) -> None:
    with quiet_plant(kafka, tmp_path, "leaving.") as plant:
        exchange, leaving = plant.exchange, Leaving(plant)
        readers = (leaving, StreamReader(plant, "conflated", lag_and_leave, conflate=True), SyncReader(plant, "sync"))
        with readers[0], readers[1], readers[2]:
            wait_until("the books are live", lambda: not any(lacking(plant, reader) for reader in readers))
            exchange.play()
            exchange.wait_finished()
            wait_until("they are again", lambda: not any(lacking(plant, reader) for reader in readers), SECONDS)
        truth = read_ledger(exchange.ask("/ledger"))
        _was_given_each_once(leaving, truth)
        assert not wrong_sights(exchange, truth, [each for reader in readers for each in reader.sights])
        assert not [failure for reader in readers for failure in reader.failures]


@pytest.mark.timeout(240)
def test_a_program_that_leaves_its_loop_gets_every_record_once(kafka: BlockingKafka, tmp_path: Path) -> None:
    with quiet_plant(kafka, tmp_path, "leaving-records.") as plant:
        exchange, records = plant.exchange, RecordReader(plant)
        with records:
            wait_until("it has joined", lambda: records.joins == 1)
            exchange.play()
            exchange.wait_finished()
            kept, _ = read_records(plant.bootstrap_servers, plant.prefix, FAMILIES)
            assert sum(map(len, kept.values())) > FRAMES
            records.wait_for(kept, SECONDS)
        found = judge_records(records.given, kept, read_ledger(exchange.ask("/ledger")).messages, FAMILIES)
        assert not found.problems
        assert (found.holes, found.late) == (0, 0)
        assert not records.failures


def _was_given_each_once(reader: Leaving, truth: Truth) -> None:
    assert len(reader.applied) == MARKETS
    for symbol, applied in reader.applied.items():
        said = [each.last_id for each in truth.messages["depth", symbol]]
        assert applied == said[said.index(applied[0]) :], symbol
