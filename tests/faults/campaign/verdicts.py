"""Applies the judge to all markets: messages lost without a record, and wrong books shown LIVE."""

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.error import HTTPError

from faults.campaign.judge import Books, Loss, Sight, Wrong, difference, lost_messages, wrong_books
from faults.campaign.kept import Kept
from faults.campaign.sights import unpacked
from faults.campaign.truth import BookTimes, Truth
from plant import Exchange


def wrong_sights(exchange: Exchange, truth: Truth, sights: Iterable[Sight]) -> list[Wrong]:
    """Each sight of a LIVE book that was wrong, compared with the exchange's books."""
    in_time = sorted(sights, key=lambda sight: sight.wall_us)
    return wrong_books(in_time, book_times(truth), exchange_books(exchange), unpacked)


def book_times(truth: Truth) -> dict[str, BookTimes]:
    """By symbol, all states of the exchange's books."""
    return {
        symbol: BookTimes(listings, truth.messages.get(("depth", symbol), ()))
        for symbol, listings in truth.listings.items()
    }


def exchange_books(exchange: Exchange) -> Books:
    """The exchange's book at an update id, requested once each."""

    @lru_cache(maxsize=4096)
    def book(symbol: str, update_id: int) -> Any:
        try:
            return exchange.ask(f"/books/{symbol}?at={update_id}")
        except HTTPError:
            return None

    return book


def shows_as_of(books: Books) -> Callable[[Sight, int], bool]:
    """Whether a shown book equals the exchange's at an update id."""

    def shows(sight: Sight, update_id: int) -> bool:
        return difference(unpacked(sight.levels), books(sight.symbol, update_id), sight.top) is None

    return shows


def moments_between(seed: int, count: int, first_us: int, last_us: int) -> list[int]:
    """Random moments of a campaign, the same for the same seed, and its end, when all books were right."""
    numbers = random.Random(f"moments of {seed}")  # separate, so that the schedule's numbers do not change
    return sorted([*(first_us + int(numbers.random() * (last_us - first_us)) for _ in range(count - 1)), last_us])


def losses(
    truth: Truth, kept: Kept, kinds: Collection[str], until_us: int, emptied_us: Mapping[str, int]
) -> list[Loss]:
    """Find the messages of these stream specs that were lost without a record, in all markets.

    `emptied_us`: by stream spec, when its topic was recreated.
    """
    found: list[Loss] = []
    for (kind, symbol), messages in truth.messages.items():
        if kind not in kinds:
            continue
        gaps = [each for each in kept.gaps if each.kind == kind and each.symbol in (symbol, "")]
        records, letters = (each.get((kind, symbol), set()) for each in (kept.records, kept.letters))
        since_us = kept.first_covered_us(kind, symbol)
        if since_us is not None:  # a stepped clock may report a time before the first subscription
            asked_us = [truth.subscribed_us.get(each, since_us) for each in (f"{kind}.{symbol}", kind)]
            since_us = max(since_us, *asked_us)
        received = kept.received.get((kind, symbol), {})
        found += lost_messages(
            messages,
            records,
            gaps,
            letters,
            since_us=since_us,
            until_us=until_us,
            received=received,
            emptied_us=emptied_us.get(kind),
        )
    return sorted(found, key=lambda loss: loss.first.wall_us)
