"""Rows of choices in which every combination of what some switches offer is met at least once."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

Row = dict[str, str]
Group = tuple[str, ...]
"""Names of switches."""


def met(row: Mapping[str, str], group: Group) -> tuple[str, ...]:
    """The combination of the group's choices that a row makes."""
    return tuple(row[name] for name in group)


def rows(switches: Mapping[str, Sequence[str]], groups: Iterable[Group], tries: int = 20) -> list[Row]:
    """A short list of rows, the same every time, in which each group meets in every combination of its choices.

    Each row begins with a combination not met yet; the best of some tries to fill in the rest is taken.
    """
    chance = random.Random(1)
    missing = {group: dict.fromkeys(itertools.product(*(switches[name] for name in group))) for group in groups}
    found: list[Row] = []
    while missing:
        group = max(missing, key=lambda each: len(missing[each]))
        begun = dict(zip(group, next(iter(missing[group])), strict=True))
        candidates = [_filled(begun, switches, chance) for _ in range(tries)]
        best = max(candidates, key=lambda row: sum(met(row, each) in left for each, left in missing.items()))
        for each, left in missing.items():
            left.pop(met(best, each), None)
        missing = {each: left for each, left in missing.items() if left}
        found.append(best)
    return found


def _filled(begun: Row, switches: Mapping[str, Sequence[str]], chance: random.Random) -> Row:
    return {name: begun.get(name) or chance.choice(choices) for name, choices in switches.items()}
