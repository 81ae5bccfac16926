"""The limits of a key: requests per second and requests per calendar month."""

from typing import Final, NamedTuple

__all__ = ["TIERS", "Tier"]


class Tier(NamedTuple):
    """The limits of a key; None for no limit.

    Attributes:
        name: how files and commands name the tier.
        requests_per_second: the maximum within any span of one second.
        requests_per_month: the maximum within a calendar month (UTC).
    """

    name: str
    requests_per_second: int | None
    requests_per_month: int | None


TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier("basic", 3, 15_000),
        Tier("pro", 8, 330_000),
        Tier("ultra", 20, 1_700_000),
        Tier("mega", 60, 9_000_000),
        Tier("unlimited", None, None),
    )
}
