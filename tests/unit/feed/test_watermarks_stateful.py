"""Whatever is lost between a producer and a reader, the reader believes no more of its watermarks than was true."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backpack_streams.exchange.session_actions import SocketProven, StreamsActive, StreamsInactive
from backpack_streams.sequencing.watermarks import Instances
from thoroughness import runs
from unit.feed.recorded_queues import CODEC, encoder
from unit.feed.watermarking_instance import SECOND, Instance, PartitionQueue, S


class Read(RuleBasedStateMachine):
    """Whatever is lost in transit, a reader never believes more than was true."""

    def __init__(self) -> None:
        super().__init__()
        self.instance = Instance()
        self.socket = 0
        self.read = Instances()
        self.sure: list[tuple[float, float]] = []
        self.since = 10.0
        self.handed: list[float] = [10.0]
        """When each record was handed over."""

    @property
    def partition_queue(self) -> PartitionQueue:
        return self.instance.between.partitions[0]

    @rule()
    def hand_over(self) -> None:
        self.partition_queue.handed_over += 1
        self.handed.append(self.instance.now)

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        self.partition_queue.done += int((self.partition_queue.handed_over - self.partition_queue.done) * share + 0.5)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.instance.now += seconds
        if self.instance.coverage.is_covered(S):
            self.instance.take(SocketProven(self.socket, self.instance.now))

    @rule()
    def lose_or_find_the_socket(self) -> None:
        now = self.instance.now
        if self.instance.coverage.is_covered(S):
            self.instance.take(StreamsInactive((S,), self.socket, now, "DISCONNECTED"))
            self.sure.append((self.since, now))
        else:
            self.socket += 1
            if self.sure and self.sure[-1][1] == now:
                self.since = self.sure.pop()[0]  # at the same moment: nothing lies between
            else:
                self.since = now
            self.instance.take(StreamsActive((S,), self.socket, now))

    @rule()
    def settle(self) -> None:
        self.instance.coverage.settle(S)

    @rule(arrives=st.sampled_from(["read", "read", "lost", "no room"]))
    def tick(self, arrives: str) -> None:
        self.instance.marks.mark(self.instance.moment)
        row = self.instance.marks.next_row(self.instance.moment)
        if row is None or arrives == "no room":
            return
        self.instance.marks.published(row)
        if arrives == "read":
            self.read.take(CODEC.decode(encoder("ops.watermark")(row))[1])

    @invariant()
    def what_is_believed_was_so(self) -> None:
        known = self.read.by_id.get("me")
        if known is None or known.coverage is None:
            return
        interval = known.coverage[S]
        if interval.since is None:
            return
        until = known.complete_through if interval.until is None else interval.until
        spans = [*self.sure, *([(self.since, self.instance.now)] if self.instance.coverage.is_covered(S) else [])]
        if until > interval.since:
            claimed = interval.since, until
            assert any(round(since * SECOND) <= claimed[0] and until <= round(end * SECOND) for since, end in spans)
        offset = known.offsets.get((self.partition_queue.topic, 0), 1000)
        missing = self.handed[offset - 1000 + 1 :]
        assert all(round(at * SECOND) >= known.complete_through for at in missing), "not in Kafka, though claimed"

    @invariant()
    def what_a_successor_counts_ends_before_what_is_owed(self) -> None:
        known = self.read.by_id.get("me")
        if known is not None and known.coverage is not None and not known.coverage[S].is_settled:
            until = known.covered_until(S)
            assert until is None or any(until == round(end * SECOND) for _, end in self.sure)


TestRead = Read.TestCase
TestRead.settings = runs(60, steps=30)
