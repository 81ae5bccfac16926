"""Whatever happens to producers, pollers and readers: a book that is LIVE has everything that the exchange sent until its `as_of`."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books import watermark_intake
from backpack_streams.books.market_book import Status
from thoroughness import runs
from vouched_plant import DEPTH, SECOND, WALL_US, Clock, Plant

STEP = 0.5
OLDEST_ANSWER = STEP / 2
"""No answer of the exchange is older, and no instance publishes watermarks more often: this replaces the plant's interval."""


@dataclass
class Instance:
    """A producer instance: what it covers, and what it has received but not written yet."""

    name: str
    since: float | None = None
    held: list[tuple[int, float]] = field(default_factory=list)
    next_depth: int = -1
    next_watermark: int = -1
    is_alive: bool = True
    said_at: float = float("-inf")
    marks: list[dict[str, Any]] = field(default_factory=list)
    """Watermarks in transit."""


class World:
    """One silent or busy market, instances that start and stop, a poller, and one reader; all clocks agree, but are read at any time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.plant = Plant(self.clock)
        self.plant.last_id = 10
        self.sent: list[tuple[float, int]] = [(0.0, 10)]
        self.instances = [Instance("i0")]
        self.unread: list[Any] = []
        self.asked: Any = None
        self.was_live = 0
        self.cover(self.instances[0])

    @property
    def last_id(self) -> int:
        return self.sent[-1][1]

    def cover(self, instance: Instance) -> None:
        if instance.is_alive and instance.since is None:
            instance.since = self.clock.now

    def act(self, what: str, who: int) -> None:
        instance = self.instances[-1 - who % min(2, len(self.instances))]
        if what == "move":
            self.sent.append((self.clock.now, self.last_id + 1))
            for each in self.instances:
                if each.is_alive and each.since is not None:
                    each.held.append((self.last_id, self.clock.now))
        elif what == "write":
            self.write(instance)
        elif what == "say":
            self.say(instance)
        elif what == "get through":
            self.get_through(instance)
        elif what == "lose":
            instance.since = None
        elif what == "cover":
            self.cover(instance)
        elif what == "kill":
            instance.is_alive, instance.since, instance.held, instance.marks = False, None, [], []
        elif what == "start":
            self.instances.append(Instance(f"i{len(self.instances)}"))
            self.cover(self.instances[-1])
        elif what == "ask":
            as_of = self.clock.now - (OLDEST_ANSWER if who else 0.0)
            last_id = max(last_id for at, last_id in self.sent if at <= as_of)
            self.asked = self.plant.snapshot(last_id, delta_offset=self.plant.depth)
        elif what == "answer" and self.asked is not None:
            self.unread.append(self.asked)
            self.asked = None
        elif what == "read":
            self.read()

    def write(self, instance: Instance) -> None:
        for last_id, received in instance.held:
            was = self.plant.last_id
            self.plant.last_id = last_id - 1
            self.unread.append(self.plant.update(received=self.clock.now - received))
            self.plant.last_id = was
            instance.next_depth = self.plant.depth
        instance.held = []

    def say(self, instance: Instance) -> None:
        """Everything is written; the watermark that says so has yet to arrive."""
        if not instance.is_alive or self.clock.now - instance.said_at < OLDEST_ANSWER - 1e-9:
            return
        instance.said_at = self.clock.now
        self.write(instance)
        now_us = self.clock.wall_us()
        began = None if instance.since is None else WALL_US + int(instance.since * SECOND)
        instance.marks.append(
            {
                "complete_through": now_us,
                "published_time": now_us,
                "since": None,
                "coverage": [{"since": began, "until": None, "streams": ["depth.A"]}],
                "offsets": [
                    {"topic": DEPTH[0], "next_offsets": [instance.next_depth]},
                    {"topic": "b.ops.watermark", "next_offsets": [instance.next_watermark]},
                ],
            }
        )

    def get_through(self, instance: Instance) -> None:
        for mark in instance.marks:
            mark.pop("since", None)
            self.unread.append(self.plant.watermark(instance.name, None, **mark))
            instance.next_watermark = self.plant.watermarks
        instance.marks = []

    def read(self) -> None:
        records, self.unread = self.unread, []
        self.plant.read(*records)
        self.check()

    def check(self) -> None:
        book = self.plant.book
        if book.status is not Status.LIVE:
            return
        self.was_live += 1
        assert book.as_of is not None
        as_of = (book.as_of - WALL_US) / SECOND
        expected = max(last_id for at, last_id in self.sent if at < as_of or not at)
        assert (book.last_update_id or 0) >= expected, (book.as_of, self.sent[-5:], book)
        assert self.clock.now - as_of <= 5.0 + 1e-3


ACTS = st.sampled_from(
    [
        *["all well"] * 6,
        *["move"] * 3,
        *["say", "get through", "read", "write"] * 2,
        *["ask", "answer"] * 2,
        *["lose", "cover", "kill", "start"],
    ]
)


@runs(1500, 1)
@given(steps=st.lists(st.tuples(ACTS, st.integers(0, 1), st.sampled_from([0.0, 0.1, STEP, 1.0, 6.0])), max_size=60))
def test_a_live_book_lacks_nothing(steps: list[tuple[str, int, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = World()
        patch.setattr(watermark_intake.time, "time_ns", lambda: world.clock.wall_us() * 1000)
        for what, who, passes in steps:
            if what != "all well":
                world.clock.now += passes
                world.act(what, who)
                world.check()
                continue
            for instance in world.instances:
                world.clock.now += STEP / 2
                world.say(instance)
                world.get_through(instance)
            for act in ("ask", "answer", "read") if passes == 1.0 else ("read",):
                world.act(act, who)


def test_a_healthy_plant_is_live_nearly_always() -> None:
    """Otherwise the test above would prove nothing."""
    with pytest.MonkeyPatch.context() as patch:
        world = World()
        patch.setattr(watermark_intake.time, "time_ns", lambda: world.clock.wall_us() * 1000)
        for second in range(40):
            for instance in world.instances:
                world.clock.now += STEP
                world.say(instance)
                world.get_through(instance)
            for act in {3: ("ask", "answer"), 10: ("start",), 25: ("move",)}.get(second, ()):
                world.act(act, 0)
            world.act("read", 0)
            if second == 20:
                world.act("kill", 1)
        assert world.was_live > 30
        assert world.plant.book.status is Status.LIVE
