"""A reader that reads books of a plant all the time, and records everything that it gets."""

import asyncio
import threading
from itertools import pairwise
from typing import NamedTuple, Self

from backpack_streams.books import BookStream, Outcome, Status
from plant import Plant


class Sight(NamedTuple):
    """One update of a book, as given to the reader."""

    status: Status
    reason: str
    outcome: Outcome
    last_update_id: int | None


class Witness:
    """Reads on its own thread within the context."""

    def __init__(self, plant: Plant, *symbols: str) -> None:
        """Without symbols: all books."""
        self.seen: dict[str, list[Sight]] = {}
        self.duplicates = 0
        self._failure: Exception | None = None
        self._plant, self._symbols = plant, symbols or None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        if kind is None:
            assert self._failure is None, self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except Exception as error:  # noqa: BLE001  # passed to the test
            self._failure = error

    async def _read(self) -> None:
        async with BookStream(self._plant.bootstrap_servers, self._symbols, topic_prefix=self._plant.prefix) as books:
            async for updates in books.rounds():
                for update in updates:
                    sight = Sight(update.status, update.market.reason, update.outcome, update.last_update_id)
                    self.seen.setdefault(update.symbol, []).append(sight)
                self.duplicates = sum(market.duplicates for market in books.books.values())
                if self._stop.is_set():
                    return

    def sees_live(self, books: int) -> bool:
        """Whether so many books were given and all are LIVE."""
        newest = self._newest()
        return len(newest) == books and all(sight.status is Status.LIVE for sight in newest.values())

    def reached(self) -> dict[str, int | None]:
        """The last update id of each book."""
        return {symbol: sight.last_update_id for symbol, sight in self._newest().items()}

    def since_live(self, symbol: str) -> list[Sight]:
        """The updates of a book since it was first LIVE."""
        sights = self.seen[symbol]
        first = next((at for at, sight in enumerate(sights) if sight.status is Status.LIVE), len(sights))
        return sights[first:]

    def left_live(self, symbol: str) -> int:
        """How often a book went from LIVE to another status."""
        statuses = [sight.status for sight in self.seen[symbol]]
        return sum(1 for before, after in pairwise(statuses) if before is Status.LIVE is not after)

    def applied(self) -> int:
        """The number of updates applied, of all books."""
        return sum(sight.outcome is Outcome.APPLIED for sights in list(self.seen.values()) for sight in sights.copy())

    def _newest(self) -> dict[str, Sight]:
        assert self._failure is None, self._failure
        return {symbol: sights[-1] for symbol, sights in self.seen.copy().items()}
