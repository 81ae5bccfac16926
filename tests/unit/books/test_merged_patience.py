"""How long merged trades wait for a missing one, measured by the receive times in their partition: a wrong one changes nothing."""

from collections.abc import Callable

import pytest

from backpack_streams.books.record_merge import MergedFlow
from backpack_streams.books.record_stream import Gap
from backpack_streams.bus.topics import topic
from topics_in_memory import CODEC, PREFIX, SECOND, T0, Topics

PARTITION = PREFIX + "market.trade", 0
DAY = 86_400.0

Wrong = Callable[[int], float]
"""By how much (seconds) the receive time of a trade is wrong."""


class Merging:
    """A merged flow of one partition, by the second; patience is 10 s."""

    def __init__(self, wrong: Wrong) -> None:
        self.topics = Topics({"market.trade": 1})
        self.flow = MergedFlow(CODEC, [PARTITION], None, 10.0)
        self.wrong = wrong
        self.given: list[int | str] = []

    def take(self, now: float, *trade_ids: int, is_idle: bool = True) -> None:
        """Trades come; the number of a trade is the second at which it was made."""
        for trade_id in trade_ids:
            self.topics.trade(trade_id, seconds=trade_id, received=now + 0.05 + self.wrong(trade_id))
            self.flow.take(topic("market.trade"), self.topics.logs[PARTITION][-1], now)
        self.flow.polled(now, [PARTITION] if is_idle else [], T0 + int(now * SECOND), 1.0)
        while self.flow.ready:
            item = self.flow.ready.popleft()
            if isinstance(item, Gap):
                self.given.append(f"{item.first_id} to {item.last_id} missing")
            else:
                self.given.append(f"{item.value['trade_id']} late" if item.is_late else item.value["trade_id"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: 0.0,
        lambda trade_id: 60.0 if trade_id == 3 else 0.0,
        lambda trade_id: 60.0 if trade_id in range(3, 8) else 0.0,
        lambda trade_id: -4.0 if trade_id % 2 else 0.0,
        lambda trade_id: DAY if trade_id == 1 else 0.0,
    ],
    ids=["right", "one ahead", "some ahead", "every other behind", "the first a day ahead"],
)
def test_a_live_trade_waits_its_time_for_the_one_before_it(wrong: Wrong) -> None:
    merging = Merging(wrong)
    for number in range(1, 30):
        merging.take(number, number)
    merging.take(31, 31)
    merging.take(32, 32)
    merging.take(34, 30, 34, 33)
    merging.take(60)
    assert merging.given == list(range(1, 35))


@pytest.mark.parametrize("ahead", [0.0, DAY])
def test_a_live_trade_waits_no_longer_than_its_time(ahead: float) -> None:
    merging = Merging(lambda trade_id: ahead if trade_id == 3 else 0.0)
    for number in range(1, 30):
        merging.take(number, number)
    for number in range(31, 45):
        merging.take(number, number)
    assert merging.given[29:31] == ["30 to 30 missing", 31]


@pytest.mark.parametrize("ahead", [0.0, DAY])
def test_in_history_one_missing_trade_does_not_hold_all_others(ahead: float) -> None:
    merging = Merging(lambda trade_id: ahead if trade_id == 3 else 0.0)
    for number in [*range(1, 30), *range(31, 60)]:
        merging.take(number, number, is_idle=False)
    assert "30 to 30 missing" in merging.given
    assert len(merging.given) > 50
