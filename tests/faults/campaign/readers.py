"""Everybody who looks at books during a campaign, and takes note of what was shown."""

import asyncio
import json
import subprocess
import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any, Self

from backpack_streams.books import BookStream, Hole, RecordStream
from backpack_streams.errors import BusError
from faults.campaign.judge import Sight
from plant import Plant

_LOOK_SECONDS = 1.0
_COMMAND_TIMEOUT_SECONDS = 6.0
_JOIN_AGAIN_SECONDS = 1.0


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


def packed(bids: Any, asks: Any) -> bytes:
    """Levels as they are kept until they are judged."""
    return zlib.compress(json.dumps({"bids": bids, "asks": asks}, separators=(",", ":")).encode(), 1)


def unpacked(levels: bytes) -> Mapping[str, Any]:
    """What `packed` has packed."""
    value: Mapping[str, Any] = json.loads(zlib.decompress(levels))
    return value


class LibraryReader:
    """A program that uses the library all along, and looks at all its books once a second."""

    def __init__(self, plant: Plant) -> None:
        self.sights: list[Sight] = []
        self.joins = 0
        self.failures: list[str] = []
        self._plant = plant
        self._newest: dict[str, Sight] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="library-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def newest(self) -> dict[str, Sight]:
        """What each book looked like at the last look."""
        return dict(self._newest)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._read())
            except Exception as error:  # noqa: BLE001  # a program that reads books would start again too, whatever it was
                if not isinstance(error, BusError):
                    self.failures.append(f"{type(error).__name__}: {error}")
                self._stop.wait(_JOIN_AGAIN_SECONDS)

    async def _read(self) -> None:
        plant = self._plant
        async with BookStream(plant.bootstrap_servers, topic_prefix=plant.prefix) as books:
            self.joins += 1
            look_at = time.monotonic()
            async for updates in books.rounds():
                for _ in updates:
                    pass
                if self._stop.is_set():
                    return
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK_SECONDS
                    self._look(books)

    def _look(self, books: BookStream) -> None:
        at_us = now_us()
        for symbol, market in books.books.items():
            before = self._newest.get(symbol)
            is_new = before is None or (before.status, before.last_update_id) != (
                market.status.value,
                market.last_update_id,
            )
            levels = packed(*market.book.to_lines()) if is_new or before is None else before.levels
            sight = Sight("library", at_us, symbol, market.status.value, market.last_update_id, levels)
            self._newest[symbol] = sight
            self.sights.append(sight)


def look_with_command(plant: Plant) -> list[Sight]:
    """What `book all --once --json` prints. It is judged by the moment at which it was started."""
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
        sights.append(Sight("command", at_us, row["symbol"], row["status"], row["last_update_id"], levels))
    return sights


def sights_of_tops(tops: list[dict[str, Any]], clock_was_wrong: bool) -> list[Sight]:
    """What the book-builder has published. Its own clock says when, so without a right clock no age is judged."""
    sights = []
    for top in tops:
        received = top["received_time"]
        at_us = received if isinstance(received, int) else int(received.timestamp() * 1_000_000)
        levels = packed(*([_plain(level) for level in top[side]] for side in ("bids", "asks")))
        sights.append(
            Sight(
                *("book_top", at_us, top["symbol"], top["status"], top["last_update_id"], levels),
                is_judged_by_age=not clock_was_wrong,
                top=top["levels_limit"],
            )
        )
    return sights


def _plain(level: Mapping[str, Any]) -> tuple[str, str]:
    price, quantity = (format(level[key].normalize(), "f") for key in ("price", "quantity"))
    return price, quantity


async def _trades(plant: Plant) -> tuple[int, list[tuple[str, int]]]:
    given: set[tuple[str, int]] = set()
    twice: list[tuple[str, int]] = []
    quiet = 0
    async with RecordStream(
        plant.bootstrap_servers, "market.trade", start="beginning", topic_prefix=plant.prefix
    ) as stream:
        async for items in stream.rounds():
            count = 0
            for item in items:
                count += 1
                if not isinstance(item, Hole):
                    key = item.symbol, int(item.value["trade_id"])
                    if key in given:
                        twice.append(key)
                    given.add(key)
            quiet = 0 if count else quiet + 1
            if stream.is_caught_up and quiet > 2 and not stream.waiting:
                return len(given), twice
    raise AssertionError


def trades_given_twice(plant: Plant, seconds: float = 60.0) -> tuple[int, list[tuple[str, int]]]:
    """How many trades the library gives from the beginning on, and which of them it gives more than once."""
    return asyncio.run(asyncio.wait_for(_trades(plant), seconds))
