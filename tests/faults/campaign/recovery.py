"""Whether everybody who shows books has come back: each open market LIVE, and where the exchange is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from faults.campaign.judge import Sight
from faults.campaign.readers import Standing

Sequences = Mapping[str, Any]
"""What the sandbox answers at `/sequences`."""


def behind(standing: Mapping[str, Standing], symbols: Collection[str], goal: Sequences, now: Sequences) -> list[str]:
    """Which books of these markets are not LIVE, or not between where the exchange was at the goal and where it is now."""
    found = []
    for symbol in symbols:
        book = standing.get(symbol)
        if book is None or book.status != "LIVE" or book.last_update_id is None:
            found.append(f"{symbol}: {'no book' if book is None else book.status}")
            continue
        least, most = (each[symbol]["depth"]["last_update_id"] for each in (goal, now))
        if not least <= book.last_update_id <= most:
            found.append(f"{symbol}: LIVE at {book.last_update_id}, the exchange is at {least} to {most}")
    return found


def standing_of(sights: Sequence[Sight]) -> dict[str, Standing]:
    """The newest sight of each book."""
    return {each.symbol: Standing(each.status, each.last_update_id) for each in sights}


def seconds_until_back(
    tops: Sequence[Sight],
    symbols: Collection[str],
    goal: Sequences,
    since_us: int,
    shows: Callable[[Sight, int], bool] = lambda *_: False,
) -> tuple[float, list[str]]:
    """When the published tops had all come back after a moment, and which of them had not by the last one published.

    Args:
        tops: in the order of publication, since a clock may have been wrong.
        symbols: the markets that were open then, and still are.
        goal: where the exchange was then.
        since_us: the moment.
        shows: whether a top shows what the exchange had at an update id, though it is from an earlier one.

    A top that stays as it is, since nothing happens or only below the levels that it shows, is not published again: it counts as
    shown all the while.
    """
    seconds, missing = 0.0, []
    for symbol in symbols:
        least = goal[symbol]["depth"]["last_update_id"]
        back_us: int | None = None
        for top in tops:
            if top.symbol != symbol:
                continue
            is_back = top.status == "LIVE" and ((top.last_update_id or 0) >= least or shows(top, least))
            back_us = (back_us or top.wall_us) if is_back else None
        if back_us is None:
            missing.append(f"{symbol}: not LIVE, or not where the exchange was")
        else:
            seconds = max(seconds, (back_us - since_us) / 1e6)
    return seconds, missing
