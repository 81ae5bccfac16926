"""For any behavior of two sockets of one stream: Kafka gets it once and in order, and each missing id is recorded."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.feed.sequence import HOLD_SECONDS
from thoroughness import runs
from unit.feed.recorded_queues import Plant, depth_frame

STREAM = "depth.X"
START_US = 1_000_000_000
HOLD_US = round(HOLD_SECONDS * 1_000_000)
FOREVER_US = 10 * HOLD_US


class Frame(NamedTuple):
    first_id: int
    last_id: int
    time_us: int


class TwoSockets(RuleBasedStateMachine):
    """An exchange, two sockets that lose, repeat and delay, and the producer's end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_US
        self.next_id = 100
        self.frames: list[Frame] = []
        self.queues: tuple[list[Frame], list[Frame]] = ([], [])
        self.brought: tuple[list[Frame], list[Frame]] = ([], [])
        self.passed_at: dict[Frame, int] = {}
        """When a later frame came before this one: it was awaited from then on."""
        self.must_arrive: set[Frame] = set()
        self.plant = Plant([STREAM], sockets=0)
        self.sockets = {0, 1}
        self.ticked = START_US
        self.base_id: int | None = None
        self.resumed_id: int | None = None
        self.tick()
        for socket in sorted(self.sockets):
            self.plant.cover(socket)

    # ---- the exchange and its sockets

    def _make(self, width: int) -> Frame:
        self.now += 1000
        frame = Frame(self.next_id, self.next_id + width - 1, self.now)
        self.next_id += width
        self.frames.append(frame)
        return frame

    @initialize(
        past=st.lists(st.integers(1, 3), max_size=5),
        resumed=st.booleans(),
        resume_at=st.integers(0, 4),
        begin_at=st.integers(0, 4),
    )
    def start(self, past: list[int], resumed: bool, resume_at: int, begin_at: int) -> None:
        """The exchange is older than this run, as may be the producer; its topics tell how far it came."""
        frames = [self._make(width) for width in past]
        if resumed and frames:
            last = frames[min(resume_at, len(frames) - 1)]
            self.plant.feed(STREAM).resume(last.last_id, last.time_us)
            self.resumed_id = last.last_id
            self.base_id = last.last_id + 1
        for queue in self.queues:
            queue.extend(frames[begin_at:])

    @rule(width=st.integers(1, 3), lost=st.sampled_from([(), (), (), (0,), (1,), (0, 1)]))
    def happen(self, width: int, lost: tuple[int, ...]) -> None:
        frame = self._make(width)
        for socket, queue in enumerate(self.queues):
            if socket not in lost:
                queue.append(frame)

    @rule(socket=st.integers(0, 1), count=st.integers(1, 4))
    def deliver(self, socket: int, count: int) -> None:
        for _ in range(min(count, len(self.queues[socket]))):
            frame = self.queues[socket].pop(0)
            self.brought[socket].append(frame)
            self._bring(frame, socket)

    @precondition(lambda self: self.brought[0] or self.brought[1])
    @rule(socket=st.integers(0, 1), data=st.data())
    def repeat(self, socket: int, data: st.DataObject) -> None:
        if self.brought[socket]:
            self._bring(data.draw(st.sampled_from(self.brought[socket])), socket)

    def _bring(self, frame: Frame, socket: int) -> None:
        self.now += 10
        if self.base_id is None or (self.resumed_id is None and not self._published()):
            self.base_id = min(frame.first_id, self.base_id or frame.first_id)
        # Waits are measured from tick to tick.
        in_time = self.ticked - self.passed_at.get(frame, self.ticked) < HOLD_US
        if frame.first_id >= self.base_id and in_time and len(self.sockets) == 2 and self.plant.partition_queues.room:
            self.must_arrive.add(frame)
        # With fewer than two sockets nothing waits: a loss is recorded at once.
        passed_at = self.ticked if len(self.sockets) == 2 else START_US - HOLD_US
        for earlier in self.frames:
            if earlier.last_id < frame.first_id:
                self.passed_at.setdefault(earlier, passed_at)
        self.plant.send(depth_frame(*frame), socket, self.now)

    @rule(us=st.sampled_from([1000, HOLD_US // 2, HOLD_US, FOREVER_US]))
    def wait(self, us: int) -> None:
        self.now += us
        self.tick()

    def tick(self) -> None:
        self.ticked = self.now
        self.plant.tick(self.now / 1_000_000)

    @rule(sockets=st.sets(st.integers(0, 1)))
    def change_sockets(self, sockets: set[int]) -> None:
        """Sockets come and go. Nothing is missed while a socket delivers: what comes from it later was sent meanwhile."""
        self.tick()
        for socket in sorted(self.sockets - sockets):
            self.plant.uncover(socket)
        for socket in sorted(sockets - self.sockets):
            self.plant.cover(socket)
        self.sockets = sockets
        if len(sockets) < 2:  # nothing waits for a socket that is gone
            self.passed_at = dict.fromkeys(self.frames, START_US - HOLD_US)

    # ---- what was published, and what is recorded as missing

    def _published(self) -> list[tuple[int, int]]:
        return [
            (each["first_update_id"], each["last_update_id"]) for each in self.plant.partition_queues.of("market.depth")
        ]

    def _published_ids(self) -> set[int]:
        return {each for first, last in self._published() for each in range(first, last + 1)}

    def _missing_ids(self) -> set[int]:
        """All ids that a Gap with both bounds reports as missing."""
        return {
            each
            for gap in self.plant.partition_queues.gaps
            if gap["last_id"] is not None and gap["next_id"] is not None
            for each in range(gap["last_id"] + 1, gap["next_id"])
        }

    @invariant()
    def ids_rise_strictly(self) -> None:
        published = self._published()
        for (_, last), (first, _) in pairwise(published):
            assert last < first

    @invariant()
    def what_is_not_published_is_on_record_and_nothing_else_is(self) -> None:
        published = self._published()
        if not published or self.base_id is None:
            assert not self._missing_ids()
            return
        missing = set(range(self.base_id, published[-1][1] + 1)) - self._published_ids()
        assert self._missing_ids() == missing

    @invariant()
    def a_stream_starts_with_one_record_of_it_or_goes_on(self) -> None:
        starts = [gap for gap in self.plant.partition_queues.gaps if gap["last_id"] is None]
        assert {gap["reason"] for gap in starts} <= {"STREAM_START", "DISCONNECTED"}
        published = self._published()
        if not published or self.resumed_id is not None:
            assert not any(gap["next_id"] for gap in starts)
            return
        [*silent, last] = starts
        assert not any(gap["next_id"] for gap in silent), "a time without any message was told before"
        assert last["next_id"] in (published[0][0], None)

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        feed = self.plant.feed(STREAM)
        assert feed.published == len(self._published())
        assert self.plant.partition_queues.dead_letters == []

    def teardown(self) -> None:
        """In the end nothing is held, and everything that came in time is published."""
        self.now += FOREVER_US
        self.tick()
        published = set(self._published())
        for frame in self.must_arrive:
            assert (frame.first_id, frame.last_id) in published
        feed = self.plant.feed(STREAM)
        assert feed.frames == feed.published + feed.duplicates
        self.what_is_not_published_is_on_record_and_nothing_else_is()
        super().teardown()


class FullBuffer(RuleBasedStateMachine):
    """One socket, and a Kafka that sometimes has no room, at times not even for reports."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_US
        self.next_id = 1
        self.plant = Plant([STREAM])
        self.dropped = 0

    @initialize()
    def first(self) -> None:
        self.happen(1, skipped=0)

    @rule(width=st.integers(1, 3), skipped=st.sampled_from([0, 0, 0, 2]))
    def happen(self, width: int, skipped: int) -> None:
        self.now += 1000
        self.next_id += skipped
        if not self.plant.partition_queues.room:
            self.dropped += 1
        self.plant.send(depth_frame(self.next_id, self.next_id + width - 1, self.now), 0, self.now)
        self.next_id += width

    @rule(room=st.booleans(), room_for_reports=st.booleans())
    def fill_or_empty(self, room: bool, room_for_reports: bool) -> None:
        self.plant.partition_queues.room = room and room_for_reports  # reports have room for longer than data
        self.plant.partition_queues.room_for_reports = room_for_reports

    @rule()
    def tick(self) -> None:
        self.now += 250_000
        self.plant.tick(self.now / 1_000_000)

    def _published_ids(self) -> list[int]:
        depth = self.plant.partition_queues.of("market.depth")
        return [each for row in depth for each in range(row["first_update_id"], row["last_update_id"] + 1)]

    @invariant()
    def ids_rise_strictly(self) -> None:
        ids = self._published_ids()
        assert ids == sorted(set(ids))

    @invariant()
    def nothing_that_is_there_is_on_record_as_missing(self) -> None:
        present = set(self._published_ids())
        for gap in self.plant.partition_queues.gaps:
            if gap["last_id"] is not None:
                assert present.isdisjoint(range(gap["last_id"] + 1, gap["next_id"]))

    def teardown(self) -> None:
        """Room returns: with the next record everything dropped is recorded, to the id and the count."""
        self.plant.partition_queues.room = self.plant.partition_queues.room_for_reports = True
        self.happen(1, skipped=0)
        self.tick()
        present = set(self._published_ids())
        gaps = self.plant.partition_queues.gaps
        missing = {
            each for gap in gaps if gap["last_id"] is not None for each in range(gap["last_id"] + 1, gap["next_id"])
        }
        assert missing == set(range(1, self.next_id)) - present
        full = [gap for gap in gaps if gap["reason"] == "BUFFER_FULL"]
        assert sum(gap["lost_records"] for gap in full) == self.dropped
        super().teardown()


TestTwoSockets = TwoSockets.TestCase
TestTwoSockets.settings = runs(80, steps=40)
TestFullBuffer = FullBuffer.TestCase
TestFullBuffer.settings = runs(60, steps=25)


def test_held_messages_are_published_when_the_socket_they_waited_for_is_gone() -> None:
    """Update 102 waits for 101, which the other socket may deliver; then only that socket is left, and it delivers 103 next."""
    state = TwoSockets()
    state.start(past=[1, 1], resumed=True, resume_at=0, begin_at=2)
    state.change_sockets(sockets={0, 1})
    state.happen(lost=(1,), width=1)
    state.deliver(socket=0, count=1)
    state.change_sockets(sockets={1})
    state.happen(lost=(), width=1)
    state.deliver(socket=1, count=1)
    assert state._published() == [(102, 102), (103, 103)]
    state.teardown()
