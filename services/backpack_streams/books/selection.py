"""Which markets to read: names, patterns, kinds, or all. Sans I/O."""

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from backpack_streams.books.listing import Listing
from backpack_streams.errors import UsageError

__all__ = ["ALL", "KIND_PREFIX", "Selection"]

ALL: Final = "all"
KIND_PREFIX: Final = "kind:"
_PATTERN_SIGNS = frozenset("*?[")


class Selection:
    """The selected markets. A market matches any of `symbols`: a name, a pattern (`*_PERP`, `BTC*`) or a kind (`kind:PERP`).

    `kinds` restricts them to markets of these kinds. Kinds come from the market list, so an unlisted market has no kind.
    """

    def __init__(self, symbols: str | Iterable[str] | None = None, kinds: str | Iterable[str] | None = None) -> None:
        """Check the selection.

        Args:
            symbols: names, patterns and kinds (`kind:PERP`); None or `all` selects all markets.
            kinds: only markets of these kinds, in upper or lower case; None for all kinds.

        Raises:
            UsageError: the selection is empty, a kind has no name, or `all` is combined with symbols.
        """
        given = None if symbols is None else _listed(symbols, "symbol")
        if given is not None and ALL in given:
            if len(given) > 1:
                raise UsageError(f"{ALL!r} stands alone; give {ALL}, or symbols")
            given = None
        self._narrowed_to = None if kinds is None else frozenset(kind.upper() for kind in _listed(kinds, "kind"))
        self._is_everything = given is None
        kinds_given = [each for each in given or () if each.startswith(KIND_PREFIX)]
        self._kinds = frozenset(each.removeprefix(KIND_PREFIX).upper() for each in kinds_given)
        if "" in self._kinds:
            raise UsageError(f"{KIND_PREFIX} names no kind of market; write {KIND_PREFIX}PERP")
        rest = [each for each in given or () if not each.startswith(KIND_PREFIX)]
        self.patterns = tuple(each for each in rest if _PATTERN_SIGNS & set(each))
        self.names = frozenset(rest) - frozenset(self.patterns)

    @property
    def keys(self) -> frozenset[bytes] | None:
        """The Kafka keys of the markets if they are known without the market list, otherwise None."""
        if self._is_everything or self.patterns or self._kinds or self._narrowed_to is not None:
            return None
        return frozenset(name.encode() for name in self.names)

    def known_keys(self, listing: Listing) -> frozenset[bytes]:
        """Return the keys of the selected markets, as far as they are known.

        Args:
            listing: the market list; of its markets, the open ones that have books count.
        """
        if (keys := self.keys) is not None:
            return keys
        wanted = (each for each in listing if self.wants(each.symbol, each.kind))
        listed = {each.symbol for each in wanted if each.has_book and not each.why_closed}
        return frozenset(name.encode() for name in listed | self.names)

    @property
    def is_everything(self) -> bool:
        """Whether every market is selected, listed or not."""
        return self._is_everything and self._narrowed_to is None

    def wants(self, symbol: str, kind: str | None) -> bool:
        """Return whether a market is selected; `kind` is None if the market list does not have it."""
        if self._narrowed_to is not None and kind not in self._narrowed_to:
            return False
        return (
            self._is_everything
            or symbol in self.names
            or kind in self._kinds
            or any(fnmatchcase(symbol, pattern) for pattern in self.patterns)
        )

    def check(self, listing: Listing) -> None:
        """Check the selection against the market list, unless that is empty.

        Raises:
            UsageError: a symbol is not listed, or a pattern or kind matches no market.
        """
        listed = {each.symbol for each in listing}
        if not listed:
            return
        for name in sorted(self.names - listed):
            near = difflib.get_close_matches(name, listed, 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise UsageError(f"unknown symbol {name!r}: the exchange lists no such market{hint}")
        for pattern in self.patterns:
            if not any(fnmatchcase(symbol, pattern) for symbol in listed):
                raise UsageError(f"{pattern!r} fits no market that the exchange lists")
        kinds = {each.kind for each in listing}
        for kind in sorted(self._kinds | (self._narrowed_to or frozenset()), key=str):
            if kind not in kinds:
                raise UsageError(f"{KIND_PREFIX + kind!r} fits no market that the exchange lists")


def _listed(texts: str | Iterable[str], what: str) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed or not all(listed):
        raise UsageError(f"no {what}, or an empty one, is wanted; leave {what}s out for all markets")
    return listed
