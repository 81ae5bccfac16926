"""Rows of choices in which every two choices of different switches meet at least once."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

Choice = tuple[str, str]
Row = dict[str, str]


def pairs_of(row: Mapping[str, str]) -> set[frozenset[Choice]]:
    """Every two choices that meet in a row."""
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


def all_pairs(switches: Mapping[str, Iterable[str]]) -> set[frozenset[Choice]]:
    """Every two choices that should meet."""
    return {
        frozenset(((one, a), (other, b)))
        for (one, these), (other, those) in itertools.combinations(switches.items(), 2)
        for a, b in itertools.product(these, those)
    }


def rows(switches: Mapping[str, Sequence[str]], tries: int = 30) -> list[Row]:
    """A short list of rows, the same every time: each begins with a pair not met yet, the best of some tries is taken."""
    chance = random.Random(1)
    missing = all_pairs(switches)
    found: list[Row] = []
    while missing:
        first = min(missing, key=sorted)
        candidates = (_row(switches, dict(first), chance) for _ in range(tries))
        best = max(candidates, key=lambda row: len(pairs_of(row) & missing))
        missing -= pairs_of(best)
        found.append(best)
    return found


def _row(switches: Mapping[str, Sequence[str]], begun: Row, chance: random.Random) -> Row:
    return {name: begun.get(name) or chance.choice(choices) for name, choices in switches.items()}
