"""The books shown by the command, by the book-builder's tops and by its checkpoints, in the form for the judge."""

import json
import subprocess
import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from faults.campaign.judge import Sight
from plant import Plant

COMMAND, TOP, CHECKPOINT = "command", "book_top", "checkpoint"
"""Names of the sources of books that are not `readers`."""
_COMMAND_TIMEOUT_SECONDS = 6.0


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


def packed(bids: Any, asks: Any) -> bytes:
    """Levels in the form that is stored until they are judged."""
    return zlib.compress(json.dumps({"bids": bids, "asks": asks}, separators=(",", ":")).encode(), 1)


def unpacked(levels: bytes) -> Mapping[str, Any]:
    """The levels from `packed`."""
    value: Mapping[str, Any] = json.loads(zlib.decompress(levels))
    return value


def look_with_command(plant: Plant) -> list[Sight]:
    """The output of `book all --once --json`. It is judged by the moment of its start."""
    at_us = now_us()
    try:
        done = plant.run(
            *("book", "all", "--once", "--json", "--timeout", str(_COMMAND_TIMEOUT_SECONDS)),
            seconds=_COMMAND_TIMEOUT_SECONDS + 30,
        )
    except subprocess.TimeoutExpired:
        return []
    sights = []
    for line in done.stdout.splitlines():
        row = json.loads(line)
        levels = packed(row["bids"], row["asks"])
        shown = row["symbol"], row["status"], row["last_update_id"]
        sights.append(Sight(COMMAND, at_us, *shown, levels, as_of_us=row["as_of"]))
    return sights


def sights_of_tops(tops: Iterable[Mapping[str, Any]], clock_was_wrong: bool) -> list[Sight]:
    """The book-builder's tops. Their time is from its own clock, so if that is wrong, no age is judged."""
    return [
        Sight(
            *(TOP, received_us(top), top["symbol"], top["status"], top["last_update_id"], _levels(top)),
            is_judged_by_age=not clock_was_wrong,
            top=top["levels_limit"],
            as_of_us=_us(top["as_of"]),
        )
        for top in tops
    ]


def sights_of_checkpoints(checkpoints: Iterable[Mapping[str, Any]]) -> list[Sight]:
    """The checkpoints. Each names its position in Kafka, so none is too old; a truncated side is not compared."""
    return [
        Sight(
            *(CHECKPOINT, received_us(row), row["symbol"], "LIVE", row["last_update_id"], _levels(row)),
            is_judged_by_age=False,
        )
        for row in checkpoints
        if row["bids_complete"] and row["asks_complete"]
    ]


def received_us(row: Mapping[str, Any]) -> int:
    """The received time of a record."""
    return _us(row["received_time"]) or 0


def _us(value: Any) -> int | None:
    return value if value is None or isinstance(value, int) else int(value.timestamp() * 1_000_000)


def _levels(row: Mapping[str, Any]) -> bytes:
    return packed(*([_plain(level) for level in row[side]] for side in ("bids", "asks")))


def _plain(level: Mapping[str, Any]) -> tuple[str, str]:
    price, quantity = (format(level[key].normalize(), "f") for key in ("price", "quantity"))
    return price, quantity
