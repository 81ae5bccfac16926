"""Programs that read books all the time, each in its own way: they record the books they get, and start again after a failure."""

import abc
import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Self

from backpack_streams.books import BookStream, BookUpdate
from backpack_streams.books.sync import BookCopy, Books
from backpack_streams.errors import BookError, BusError, UsageError
from faults.campaign.judge import Sight
from faults.campaign.leaving import ended, leave_often
from faults.campaign.markets import READ_BY_ALL
from faults.campaign.sights import now_us, packed
from plant import Plant

_LOOK_SECONDS = 0.5
_NOTE_SECONDS = 2.0
"""Interval for recording a book as given, and as it stands: together about once per second."""
_JOIN_AGAIN_SECONDS = 1.0
_END_SECONDS = 30.0
_LEAVES_AFTER = 3
_SLOW_LEAVES_AFTER = 20
_SLOW_SECONDS = 0.02


class Standing(NamedTuple):
    """A reader's current state of a book."""

    status: str
    last_update_id: int | None
    as_of_us: int | None = None


class Program(abc.ABC):
    """A program on its own thread that reads Kafka through the library, and starts again if Kafka fails."""

    def __init__(self, plant: Plant, name: str) -> None:
        """`name`: its name in the report."""
        self.name = name
        self.joins = 0
        self.failures: list[str] = []
        """Errors that no program should get."""
        self.refusals: list[str] = []
        """Why it could not start: the market list in Kafka may be incomplete."""
        self._plant = plant
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            self.failures.append(f"it has not left the library within {_END_SECONDS:g} s")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except BusError:  # Kafka is unavailable, or has no topics yet
                self._stop.wait(_JOIN_AGAIN_SECONDS)
            except UsageError as error:
                self.refusals.append(str(error))
                self._stop.wait(_JOIN_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001  # a real program would start again after any error
                self.failures.append(f"{type(error).__name__}: {error}")
                self._stop.wait(_JOIN_AGAIN_SECONDS)

    @abc.abstractmethod
    def _session(self) -> None:
        """Read from start to end, or to a failure."""

    async def _meanwhile(self, following: Coroutine[Any, Any, None], look: Callable[[], None]) -> None:
        """Look at the books now and then while the program follows; raise the error that ends it early."""
        task = asyncio.create_task(following, name=self.name)
        try:
            while not self._stop.is_set():
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
                look()
                if task.done():
                    break
        finally:
            await ended(task)
        if not self._stop.is_set():
            self.failures.append("its iteration has ended, and nobody had told it to")


class BookReader(Program):
    """A program that reads books."""

    top: int | None = None
    """Maximum number of levels per side; None: all."""

    def __init__(self, plant: Plant, name: str, symbols: tuple[str, ...] | None = None) -> None:
        """`symbols`: None for all."""
        super().__init__(plant, name)
        self.symbols = symbols
        self.sights: list[Sight] = []
        self._standing: dict[str, Standing] = {}
        self._levels: dict[str, bytes] = {}
        self._noted: dict[tuple[str, bool], float] = {}

    def standing(self) -> dict[str, Standing]:
        """Its current state of each book; empty while it is not connected."""
        return dict(self._standing)

    def wants(self, symbol: str) -> bool:
        """Whether it reads a market."""
        return self.symbols is None or symbol in self.symbols

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._standing.clear()

    def _see(
        self,
        symbol: str,
        standing: Standing,
        lines: Callable[[], tuple[Any, Any]],
        *,
        was_given: bool = False,
        at_us: int | None = None,
    ) -> None:
        """Record a book that was given or looked at; `lines` are its bids and asks. `at_us`: the moment to judge it by, if not now."""
        if not was_given:
            self._standing[symbol] = standing
        now = time.monotonic()
        if now < self._noted.get((symbol, was_given), 0.0) + _NOTE_SECONDS:
            return
        self._noted[symbol, was_given] = now
        levels = packed(*lines())
        if levels == self._levels.get(symbol):
            levels = self._levels[symbol]  # one copy for all sights of a quiet market
        self._levels[symbol] = levels
        status, update_id, as_of_us = standing
        seen_us = now_us() if at_us is None else at_us
        self.sights.append(
            Sight(self.name, seen_us, symbol, status, update_id, levels, top=self.top, as_of_us=as_of_us)
        )


class StreamReader(BookReader):
    """A program that reads a `BookStream` in one of several ways."""

    def __init__(
        self,
        plant: Plant,
        name: str,
        follow: "Follow",
        symbols: tuple[str, ...] | None = None,
        **options: Any,
    ) -> None:
        """`follow`: how the program takes updates; `options` are those of `BookStream`."""
        super().__init__(plant, name, symbols)
        self._follow = follow
        self._options = options

    def _session(self) -> None:
        asyncio.run(self._read())

    async def _read(self) -> None:
        plant = self._plant
        async with BookStream(plant.access.kafka, self.symbols, topic_prefix=plant.prefix, **self._options) as books:
            self.joins += 1
            try:
                await self._meanwhile(self._follow(books, self._given), lambda: self._look(books))
            except Exception:
                self._look_after_failure(books)
                raise
            finally:
                self._standing.clear()

    def _given(self, update: BookUpdate) -> None:
        standing = Standing(update.status.value, update.last_update_id, update.as_of)
        self._see(update.symbol, standing, update.book.to_lines, was_given=True)

    def _look(self, books: BookStream) -> None:
        for symbol, market in books.books.items():
            self._see(symbol, Standing(market.status.value, market.last_update_id, market.as_of), market.book.to_lines)

    def _look_after_failure(self, books: BookStream) -> None:
        live = [symbol for symbol, market in books.books.items() if market.status.value == "LIVE"]
        if live:
            self.failures.append(f"LIVE after reading has failed: {', '.join(live)}")


Follow = Callable[[BookStream, Callable[[BookUpdate], None]], Coroutine[Any, Any, None]]


async def keep(books: BookStream, take: Callable[[BookUpdate], None]) -> None:
    """Stay in one loop."""
    async for update in books:
        take(update)


async def leave(books: BookStream, take: Callable[[BookUpdate], None]) -> None:
    """Leave the loop every three updates, and come back."""
    await leave_often(books, take, _LEAVES_AFTER)


async def lag_and_leave(books: BookStream, take: Callable[[BookUpdate], None]) -> None:
    """Read slower than the markets move, with breaks."""
    while True:
        taken = 0
        async for update in books:
            take(update)
            taken += 1
            await asyncio.sleep(_SLOW_SECONDS)
            if taken == _SLOW_LEAVES_AFTER:
                break
        await asyncio.sleep(_SLOW_SECONDS)


class SyncReader(BookReader):
    """`books.sync.Books`: one thread iterates and leaves every few copies, another one looks now and then."""

    def _session(self) -> None:
        with Books(self._plant.access.kafka, self.symbols, topic_prefix=self._plant.prefix) as books:
            self.joins += 1
            errors: list[Exception] = []
            threading.Thread(
                target=self._iterate, args=(books, errors), name=f"{self.name}-iterating", daemon=True
            ).start()
            try:
                while not self._stop.wait(_LOOK_SECONDS):
                    self._look(books)
                    if errors:
                        raise errors[0]
            finally:
                self._standing.clear()

    def _iterate(self, books: Books, errors: list[Exception]) -> None:
        """Iterate until the books are closed; that raises an error here, or none."""
        try:
            while not self._stop.is_set():
                for _, copy in zip(range(_LEAVES_AFTER), books, strict=False):
                    self._shown(copy, was_given=True)
        except Exception as error:  # noqa: BLE001  # raised by the session's thread
            if not self._stop.is_set():
                errors.append(error)

    def _look(self, books: Books) -> None:
        for symbol in books.symbols:
            try:
                self._shown(books[symbol], was_given=False)
            except BookError:  # it was known a moment ago
                self._standing.pop(symbol, None)

    def _shown(self, copy: BookCopy, *, was_given: bool) -> None:
        standing = Standing(copy.status.value, copy.last_update_id, copy.as_of)
        self._see(copy.symbol, standing, copy.book.to_lines, was_given=was_given)


def book_readers(plant: Plant) -> Mapping[str, BookReader]:
    """One of each kind. The first one reads all books, the others some, because the machine may be small."""
    some = READ_BY_ALL
    readers = (
        StreamReader(plant, "library", keep),
        StreamReader(plant, "leaving", leave, some),
        StreamReader(plant, "conflated", lag_and_leave, some, conflate=True),
        SyncReader(plant, "sync", some),
    )
    return {each.name: each for each in readers}


BOOK_READERS = ("library", "leaving", "conflated", "sync")
"""Their names."""
