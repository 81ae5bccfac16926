"""The known markets, merged from the exchange's answers: no single odd answer removes a market. Sans I/O."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import msgspec

from backpack_streams.exchange.streams import DEPTH_WINDOWS, KLINE_INTERVALS
from backpack_streams.markets.selection import CLOSED, ListedMarket

OLDEST_FRESH_SECONDS: Final = 300
"""A cached answer older than this may add markets, but closes none, and its omissions do not count."""
ABSENT_ANSWERS: Final = 3
ABSENT_SECONDS: Final = 180.0
"""A market is gone after this many consecutive fresh answers without it, over at least this time."""
MASS_MARKETS: Final = 3
MASS_SHARE: Final = 0.1
"""A mass disappearance: more than both of the open markets of a kind are missing at once, or an answer holds no market."""
MASS_SECONDS: Final = 1800.0
"""How long a mass disappearance must last before it is believed."""
LONGEST_SYMBOL: Final = 100

_PRECISION_SECONDS: Final = 2.0
"""The precision of an answer's time: the `age` header counts whole seconds."""
_NOBODY = -math.inf
_PARAMETERS: Final = frozenset((*DEPTH_WINDOWS, *KLINE_INTERVALS))


class ListNews(StrEnum):
    """What an answer changed, or why it changed nothing."""

    ADDED = "ADDED"
    CLOSED = "CLOSED"
    REOPENED = "REOPENED"
    GONE = "GONE"
    BAD_SYMBOL = "BAD_SYMBOL"
    IGNORED_OLDER = "IGNORED_OLDER"
    IGNORED_EMPTY = "IGNORED_EMPTY"
    MASS_REFUSED = "MASS_REFUSED"


IGNORED: Final = (ListNews.IGNORED_OLDER, ListNews.IGNORED_EMPTY)


@dataclass(frozen=True, slots=True)
class ListEvent:
    """A change or a refusal to report.

    Attributes:
        news: what happened.
        symbols: the markets concerned, if any; for BAD_SYMBOL the first 100 characters, quoted and in ASCII.
        detail: more about it in words; empty for a plain change.
    """

    news: ListNews
    symbols: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """An answer about all kinds of market that were asked for, or about these `kinds` alone.

    Attributes:
        rows: the readable rows.
        unreadable: the symbol of each unreadable row; None if that cannot be read either.
        age_seconds: how long a cache has held the answer; None if it was not cached.
        asked_at: when it was asked for (monotonic seconds). By its age, a cached answer was made before that, however slowly it came.
        kinds: None for all.
    """

    rows: Sequence[ListedMarket]
    unreadable: Sequence[str | None]
    age_seconds: int | None
    asked_at: float
    kinds: frozenset[str] | None = None

    @property
    def made_at(self) -> float:
        """When the exchange made it (monotonic seconds), to within two seconds."""
        return self.asked_at - (self.age_seconds or 0)

    @property
    def is_fresh(self) -> bool:
        """Whether it may close markets, and its omissions count."""
        return (self.age_seconds or 0) <= OLDEST_FRESH_SECONDS


@dataclass(slots=True)
class _Known:
    """A market.

    Attributes:
        market: its newest row.
        closed_at: when the newest answer that closes it was made.
        recalled_at: when the answer of an earlier run that it is known from was made.
        absences: how many consecutive fresh answers lack it, up to now; `absent_since` and `absent_until` are when they were made.
        is_in_mass: whether it disappeared together with many others.
        is_refused: whether that disappearance was reported.
    """

    market: ListedMarket
    closed_at: float = _NOBODY
    recalled_at: float = _NOBODY
    absences: int = 0
    absent_since: float = _NOBODY
    absent_until: float = _NOBODY
    is_in_mass: bool = False
    is_refused: bool = False

    @property
    def is_open(self) -> bool:
        return self.market.state != CLOSED

    @property
    def is_confirmed(self) -> bool:
        return self.absences >= ABSENT_ANSWERS and self.absent_until - self.absent_since >= ABSENT_SECONDS

    @property
    def is_gone(self) -> bool:
        long_enough = MASS_SECONDS if self.is_in_mass else ABSENT_SECONDS
        return self.is_confirmed and self.absent_until - self.absent_since >= long_enough

    def seen(self) -> None:
        self.absences = 0
        self.absent_since = self.absent_until = _NOBODY
        self.is_in_mass = self.is_refused = False

    def lacked(self, made_at: float) -> None:
        """Count a fresh answer without the market; the same cached copy again adds nothing."""
        if made_at > self.absent_until + _PRECISION_SECONDS:
            self.absent_since = self.absent_since if self.absences else made_at
            self.absent_until = made_at
            self.absences += 1


class KnownMarkets:
    """The markets by all answers so far.

    - An answer made before the newest one taken is ignored: caches hold different copies.
    - `Closed` closes a market at once. Every other state counts as open.
    - A market that is missing is kept until fresh answers confirm that, and much longer if many are missing at once.
    - An unreadable row is no absence. If even its symbol cannot be read, it may be any market's, so no market counts as absent.
    - Kinds that an answer is not about stay unchanged.
    """

    def __init__(self) -> None:
        self._markets: dict[str, _Known] = {}
        self._newest: dict[str | None, float] = {}
        self._forgotten: dict[str, float] = {}

    @property
    def is_listed(self) -> bool:
        """Whether an answer with markets has come. Before that, `markets` may hold recalled ones."""
        return bool(self._newest)

    @property
    def markets(self) -> list[ListedMarket]:
        """All known markets, closed ones included, in the order in which they became known."""
        return [known.market for known in self._markets.values()]

    @property
    def missing(self) -> int:
        """How many open markets are missing in the newest answers."""
        return sum(1 for known in self._markets.values() if known.is_open and known.absences)

    def recall(self, market: ListedMarket, made_at: float) -> None:
        """Add a market known from before this run. Older answers do not change it.

        Args:
            market: its state then.
            made_at: when the answer that it is known from was made (monotonic seconds).
        """
        self._forgotten.pop(market.symbol, None)
        self._markets[market.symbol] = _Known(market, recalled_at=made_at)

    def forget(self, symbol: str, made_at: float) -> None:
        """Remove a recalled market that an answer lacks. No older answer brings it back.

        Args:
            symbol: the market.
            made_at: when that answer was made (monotonic seconds).
        """
        self._markets.pop(symbol, None)
        self._forgotten[symbol] = made_at

    def take(self, answer: ListAnswer) -> list[ListEvent]:
        """Merge an answer; return the events to report.

        Args:
            answer: the answer, with its age. Times within two seconds of each other count as equal, since ages are
                whole seconds.

        Returns:
            What the answer changed, and what in it was not believed; empty if it confirms what is known.
        """
        if answer.made_at < self._newest_of(answer.kinds) - _PRECISION_SECONDS:
            return [ListEvent(ListNews.IGNORED_OLDER, detail="made before the newest answer that was taken")]
        sorting = _Sorting(answer)
        events = sorting.events()
        if not sorting.rows and not self._newest:
            return [*events, ListEvent(ListNews.IGNORED_EMPTY, detail="no market in it that can be read")]
        for kind in (None,) if answer.kinds is None else answer.kinds:
            self._newest[kind] = max(answer.made_at, self._newest.get(kind, _NOBODY))
        changes = _Changes()
        for row in sorting.rows.values():
            self._see(row, answer, changes)
        events += changes.events()
        is_empty = not sorting.rows and not answer.unreadable
        covered = [known for known in self._markets.values() if _is_about(answer, known)]
        if is_empty and covered:
            events.append(ListEvent(ListNews.IGNORED_EMPTY, detail="no market in it; those known stay"))
        if answer.is_fresh and not sorting.may_hide_anybody:
            absent = [known for known in covered if known.market.symbol not in sorting.named]
            events += self._lack(absent, answer.made_at, is_empty=is_empty)
        return events

    def _newest_of(self, kinds: frozenset[str] | None) -> float:
        about = self._newest if kinds is None else {None, *kinds}
        return max((self._newest.get(kind, _NOBODY) for kind in about), default=_NOBODY)

    def _see(self, row: ListedMarket, answer: ListAnswer, changes: "_Changes") -> None:
        known = self._markets.get(row.symbol)
        is_closed = row.state == CLOSED
        spoken_of_at = self._forgotten.get(row.symbol, _NOBODY) if known is None else known.recalled_at
        if answer.made_at < spoken_of_at - _PRECISION_SECONDS:
            return
        if known is None:
            self._markets[row.symbol] = _Known(row, answer.made_at if is_closed else _NOBODY)
            changes.added.append(row.symbol)
            return
        known.seen()
        if is_closed and known.is_open:
            if not answer.is_fresh:
                row = replace(row, state=known.market.state)
            else:
                changes.closed.append(row.symbol)
                known.closed_at = answer.made_at
        elif is_closed:
            known.closed_at = max(known.closed_at, answer.made_at)
        elif not known.is_open:
            if answer.made_at <= known.closed_at + _PRECISION_SECONDS:
                return  # the answer that closed it is as new
            changes.reopened.append(row.symbol)
        known.market = row

    def _lack(self, absent: Sequence[_Known], made_at: float, *, is_empty: bool) -> list[ListEvent]:
        missing = Counter(known.market.market_type for known in absent if known.is_open)
        open_markets = Counter(known.market.market_type for known in self._markets.values() if known.is_open)
        for known in absent:
            kind = known.market.market_type
            known.lacked(made_at)
            known.is_in_mass |= is_empty or missing[kind] > max(MASS_MARKETS, MASS_SHARE * open_markets[kind])
        gone = tuple(known.market.symbol for known in absent if known.is_gone)
        for symbol in gone:
            del self._markets[symbol]
        refused = [
            known
            for known in absent
            if known.is_open and known.is_confirmed and not known.is_gone and not known.is_refused
        ]
        for known in refused:
            known.is_refused = True
        events = []
        if gone:
            events.append(ListEvent(ListNews.GONE, gone, "fresh answers confirm that they are not listed any more"))
        if refused:
            detail = f"too many at once: kept until they have been missing for {MASS_SECONDS / 60:.0f} min"
            events.append(ListEvent(ListNews.MASS_REFUSED, tuple(known.market.symbol for known in refused), detail))
        return events


class _Sorting:
    """The rows of an answer by symbol. A row with an impossible symbol counts as unreadable."""

    def __init__(self, answer: ListAnswer) -> None:
        self.rows = {row.symbol: row for row in answer.rows if symbol_problem(row.symbol) is None}
        self.bad = [row.symbol for row in answer.rows if row.symbol not in self.rows]
        named = {symbol for symbol in answer.unreadable if symbol}
        self.named = self.rows.keys() | named
        self.may_hide_anybody = bool(self.bad) or not all(answer.unreadable)

    def events(self) -> list[ListEvent]:
        return [
            ListEvent(ListNews.BAD_SYMBOL, (ascii(symbol[:LONGEST_SYMBOL]),), symbol_problem(symbol) or "")
            for symbol in self.bad
        ]


@dataclass(slots=True)
class _Changes:
    """The symbols that an answer changed."""

    added: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    reopened: list[str] = field(default_factory=list)

    def events(self) -> list[ListEvent]:
        told = ((ListNews.ADDED, self.added), (ListNews.CLOSED, self.closed), (ListNews.REOPENED, self.reopened))
        return [ListEvent(news, tuple(symbols)) for news, symbols in told if symbols]


def _is_about(answer: ListAnswer, known: _Known) -> bool:
    is_of_its_kind = answer.kinds is None or known.market.market_type in answer.kinds
    return is_of_its_kind and answer.made_at >= known.recalled_at - _PRECISION_SECONDS


def symbol_problem(symbol: str) -> str | None:
    """Return why this cannot be a symbol, None if it can. Streams, keys and files are named after symbols.

    Args:
        symbol: the text that an answer gives as a symbol.
    """
    if not symbol:
        return "it is empty"
    if len(symbol) > LONGEST_SYMBOL:
        return f"it is longer than {LONGEST_SYMBOL} characters"
    if not symbol.isprintable() or " " in symbol:
        return "it holds blanks or characters that cannot be printed"
    if symbol.partition(".")[0] in _PARAMETERS and "." in symbol:
        return "its streams would be taken for those of another symbol"
    return None


class _Named(msgspec.Struct):
    symbol: str


def symbol_in(raw: bytes) -> str | None:
    """Return the symbol of a row that is not readable as a whole; None if it cannot be read either.

    Args:
        raw: the row, as JSON.
    """
    try:
        symbol = msgspec.json.decode(raw, type=_Named).symbol
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return symbol if symbol_problem(symbol) is None else None
