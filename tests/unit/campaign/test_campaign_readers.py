"""The programs of a campaign start again whatever fails, say what no program should see, and note books now and then."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import pytest

from backpack_streams.errors import BusError, UsageError
from faults.campaign.readers import BookReader, Standing
from faults.campaign.sights import sights_of_checkpoints, sights_of_tops, unpacked
from plant import Plant, wait_until

LEVELS = {"bids": [{"price": Decimal("100.50"), "quantity": Decimal("1E+1")}], "asks": []}


class Scripted(BookReader):
    """Each session does the next of what is asked; the last one stays until it is told to end."""

    def __init__(self, *sessions: Callable[["Scripted"], None]) -> None:
        super().__init__(cast("Plant", None), "scripted", ("A",))
        self._sessions = list(sessions)
        self.is_last = threading.Event()

    def _session(self) -> None:
        self.joins += 1
        if self._sessions:
            self._sessions.pop(0)(self)
            return
        self.is_last.set()
        self._stop.wait()

    def see(self, status: str, update_id: int, *, was_given: bool = False) -> None:
        self._see("A", Standing(status, update_id), lambda: ([("1", str(update_id))], []), was_given=was_given)


def failing(error: Exception) -> Callable[[Scripted], None]:
    def session(_: Scripted) -> None:
        raise error

    return session


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("faults.campaign.readers._JOIN_AGAIN_SECONDS", 0.001)


def test_it_starts_again_and_tells_apart_what_may_happen_from_what_may_not():
    errors = BusError("Kafka is away"), UsageError("no such market"), KeyError(7), BusError("again")
    with Scripted(*map(failing, errors)) as reader:
        assert reader.is_last.wait(10)
    assert reader.joins == 5
    assert reader.failures == ["KeyError: 7"]
    assert reader.refusals == ["no such market"]


def test_it_says_so_if_it_cannot_leave(monkeypatch):
    monkeypatch.setattr("faults.campaign.readers._END_SECONDS", 0.01)
    hangs = threading.Event()
    with Scripted(lambda _: cast("None", hangs.wait(10))) as reader:
        wait_until("it hangs", lambda: reader.joins == 1, 10)
    hangs.set()
    assert reader.failures == ["it has not left the library within 0.01 s"]


def test_books_stand_as_they_were_looked_at_last_and_are_noted_now_and_then(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("faults.campaign.readers.time.monotonic", lambda: now[0])
    reader = Scripted()
    for at, update_id in ((100.0, 1), (101.0, 2), (102.5, 3)):
        now[0] = at
        reader.see("LIVE", update_id)
        reader.see("STALE", update_id, was_given=True)
        assert reader.standing() == {"A": Standing("LIVE", update_id)}, "what was given may be older than what stands"
    assert [(each.status, each.last_update_id) for each in reader.sights] == [
        *(("LIVE", 1), ("STALE", 1), ("LIVE", 3), ("STALE", 3))
    ]
    assert unpacked(reader.sights[2].levels) == {"bids": [["1", "3"]], "asks": []}


def row(**fields: Any) -> dict[str, Any]:
    return {"symbol": "A", "received_time": 5, "last_update_id": 7, **LEVELS, **fields}


def test_checkpoints_are_sights_of_whole_books():
    whole, cut = row(bids_complete=True, asks_complete=True), row(bids_complete=False, asks_complete=True)
    (sight,) = sights_of_checkpoints([whole, cut])
    assert (sight.status, sight.is_judged_by_age, sight.top) == ("LIVE", False, None)
    assert unpacked(sight.levels) == {"bids": [["100.5", "10"]], "asks": []}


def test_tops_are_sights_of_as_many_levels_as_they_have():
    (sight,) = sights_of_tops([row(status="STALE", levels_limit=20, as_of=4)], clock_was_wrong=True)
    assert (sight.status, sight.is_judged_by_age, sight.top, sight.wall_us, sight.as_of_us) == (
        "STALE",
        False,
        20,
        5,
        4,
    )
