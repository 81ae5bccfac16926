"""Explains why no producer vouches for a book, so that the operator knows where to look. Sans I/O."""

from collections.abc import Sequence
from typing import Final

from backpack_streams.books.listing import moment_text
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.standing import Unvouched
from backpack_streams.sequencing.coverage import CoverageView
from backpack_streams.sequencing.runs import Run

__all__ = ["CHANNEL", "stream_of", "why_not"]

CHANNEL: Final = "depth."


def stream_of(symbol: str) -> str:
    """Return the stream that brings a market's updates."""
    return CHANNEL + symbol


def why_not(
    coverage: CoverageView, market: MarketBook, runs: Sequence[Run], proving: Sequence[Run]
) -> tuple[str, Unvouched]:
    """Return the reason and the status to show. `runs`: the valid runs of the market's stream; `proving`: those that prove the book."""
    stream, as_of = stream_of(market.symbol), market.standing.as_of
    if not coverage.records:
        return "no producer publishes watermarks", Unvouched.STALE
    since = "" if as_of is None else f" since {moment_text(as_of)}"
    if not runs and market.standing.disproved & {run.key for run in coverage.runs(stream)}:
        return f"what producers say of {stream} is disproved: {market.standing.disproof}", Unvouched.STALE
    if proving:
        return f"not all was read yet that {proving[0].service} has published of {stream}", Unvouched.STALE
    if runs:
        if market.standing.loss:
            return f"{market.standing.loss}; an update or a snapshot has to prove the book", Unvouched.STALE
        if as_of is None:
            why = f"{runs[0].service} covers {stream}, but no update or snapshot from its time has proven the book"
            return why, Unvouched.SYNCING
        return (
            f"coverage of {stream} broke after {moment_text(as_of)}; an update or a snapshot has to prove the book",
            Unvouched.STALE,
        )
    wanted = coverage.wanted_by(stream)
    if wanted:
        return f"{wanted[0]} has not covered {stream}{since}: its subscription is not confirmed", Unvouched.STALE
    return f"no producer {'vouches' if as_of is None else 'has vouched'} for {stream}{since}", Unvouched.STALE
