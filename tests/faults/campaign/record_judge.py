"""Judges a reader of records: it got each record of Kafka once, trades in order, and only true gaps."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from faults.campaign.truth import Identity, Message

Stream = tuple[str, str]
"""Stream spec and symbol."""

TRADE = "trade"


class GivenTrade(NamedTuple):
    """A trade that the reader got, and its position in Kafka."""

    trade_id: int
    time_us: int
    partition: int
    offset: int
    is_late: bool


class ToldGap(NamedTuple):
    """Trades reported as missing; the last id is included."""

    first_id: int
    last_id: int


@dataclass(slots=True)
class Given:
    """Everything that one iteration, left any number of times, has given since it joined."""

    counts: dict[Stream, Counter[Identity]] = field(default_factory=dict)
    trades: dict[str, list[GivenTrade | ToldGap]] = field(default_factory=dict)
    """By symbol, in the given order."""

    def record(self, kind: str, symbol: str, identity: Identity) -> None:
        """Count a record."""
        self.counts.setdefault((kind, symbol), Counter())[identity] += 1

    def trade(self, symbol: str, trade: GivenTrade) -> None:
        """Record a trade."""
        self.record(TRADE, symbol, (trade.trade_id,))
        self.trades.setdefault(symbol, []).append(trade)

    def hole(self, symbol: str, first_id: int, last_id: int) -> None:
        """Record a gap of trades."""
        self.trades.setdefault(symbol, []).append(ToldGap(first_id, last_id))

    def total(self) -> int:
        """Number of records given."""
        return sum(counter.total() for counter in self.counts.values())

    def missing(self, kept: Mapping[Stream, Collection[Identity]], kinds: Collection[str]) -> list[str]:
        """Records of these stream specs that are in Kafka and were not given, by stream."""
        found = []
        for (kind, symbol), identities in sorted(kept.items()):
            if kind in kinds:
                lacking = set(identities) - self.counts.get((kind, symbol), Counter()).keys()
                if lacking:
                    found.append(f"{kind}.{symbol}: {len(lacking)} records of Kafka not given, such as {min(lacking)}")
        return found


@dataclass(slots=True)
class RecordFindings:
    """The findings on one reader of records."""

    given: int = 0
    holes: int = 0
    late: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    """False gaps, trades missing without a gap, and trades out of order."""

    @property
    def problems(self) -> list[str]:
        """All broken promises."""
        return [*self.lost, *self.twice, *self.untrue]


def judge_records(
    given: Given,
    kept: Mapping[Stream, Collection[Identity]],
    said: Mapping[Stream, Sequence[Message]],
    kinds: Collection[str],
) -> RecordFindings:
    """Compare the records given to a reader of all of Kafka with the records in Kafka and the exchange's messages."""
    found = RecordFindings(given.total(), lost=given.missing(kept, kinds))
    for (kind, symbol), counter in sorted(given.counts.items()):
        again = [identity for identity, count in counter.items() if count > 1]
        if again:
            found.twice.append(f"{kind}.{symbol}: {len(again)} records given twice, such as {min(again)}")
    for symbol, items in sorted(given.trades.items()):
        found.holes += sum(isinstance(each, ToldGap) for each in items)
        found.late += sum(isinstance(each, GivenTrade) and each.is_late for each in items)
        found.untrue += [f"{TRADE}.{symbol}: {each}" for each in _false_gaps(items)]
        found.untrue += [f"{TRADE}.{symbol}: {each}" for each in _out_of_order(items)]
        found.untrue += [f"{TRADE}.{symbol}: {each}" for each in _untold(items, said.get((TRADE, symbol), ()))]
    return found


def _false_gaps(items: Sequence[GivenTrade | ToldGap]) -> Iterable[str]:
    """A gap is false if one of its trades precedes the trade that revealed it in Kafka: it had been read by then."""
    for place, hole in enumerate(items):
        if not isinstance(hole, ToldGap):
            continue
        after = next((each for each in items[place + 1 :] if isinstance(each, GivenTrade) and not each.is_late), None)
        for each in items:
            if not isinstance(each, GivenTrade) or not hole.first_id <= each.trade_id <= hole.last_id:
                continue
            if after is not None and each.partition == after.partition and each.offset < after.offset:
                yield f"{hole} was told, but trade {each.trade_id} lay at offset {each.offset}, before {after.offset}"
                break


def _out_of_order(items: Sequence[GivenTrade | ToldGap]) -> Iterable[str]:
    """Ids ascend, except for trades marked as late, and if a sequence starts again later."""
    before: GivenTrade | None = None
    for each in items:
        if not isinstance(each, GivenTrade) or each.is_late:
            continue
        if before is not None and each.trade_id <= before.trade_id and each.time_us <= before.time_us:
            yield f"trade {each.trade_id} was given after {before.trade_id}"
        before = each


def _untold(items: Sequence[GivenTrade | ToldGap], said: Sequence[Message]) -> Iterable[str]:
    """Trades between two trades given in order that were neither given nor reported as missing. Ids ascend within each listing."""
    trades = [each for each in items if isinstance(each, GivenTrade)]
    ids, in_order = {each.trade_id for each in trades}, {each.trade_id for each in trades if not each.is_late}
    holes = [each for each in items if isinstance(each, ToldGap)]
    places = [place for place, each in enumerate(said) if each.last_id in in_order]
    for before, after in pairwise(places):
        if (said[before].last_id or 0) > (said[after].last_id or 0):
            continue  # the market was listed again in between: its first id is unknown
        between = {said[place].last_id or 0 for place in range(before + 1, after)} - ids
        untold = sorted(each for each in between if not any(hole.first_id <= each <= hole.last_id for hole in holes))
        if untold:
            yield f"{len(untold)} trades from {untold[0]} on are missing, and no hole was told"
