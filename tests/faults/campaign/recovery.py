"""Whether all readers have recovered: each open market LIVE, and up to date with the exchange."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from faults.campaign.judge import Sight
from faults.campaign.readers import Standing

Sequences = Mapping[str, Any]
"""The sandbox's answer at `/sequences`."""


def behind(standing: Mapping[str, Standing], symbols: Collection[str], goal: Sequences, now: Sequences) -> list[str]:
    """The books of these markets that are not LIVE, or not between the exchange's ids at the goal and now."""
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
    """The seconds until all published tops had recovered after a moment, and the tops that had not recovered by the last one published.

    Args:
        tops: in the order of publication, because a clock may have been wrong.
        symbols: the markets that were open then, and still are.
        goal: the exchange's ids at that moment.
        since_us: the moment.
        shows: whether a top equals the exchange's book at an update id, although it has an earlier id.

    An unchanged top, because nothing happens or only below its levels, is not published again: it counts as shown during that
    time.
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
