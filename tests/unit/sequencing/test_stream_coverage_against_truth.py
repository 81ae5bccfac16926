"""What readers derive from watermarks, checked against a model in which the true times are known."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.runs import RunKey
from thoroughness import runs as examples
from unit.sequencing.watermark_feed import SECOND, STREAM, WALL_US, Feed, watermark


@dataclass
class Producer:
    """One instance with its own clock, which may be set, and watermarks that may be delayed on their way to Kafka."""

    name: str
    skew: float
    since: float | None = None
    """True time; None while it covers nothing."""
    stated_since: int | None = None
    proven: float = 0.0
    """True time up to which it has everything."""
    sequence: int = 0
    acknowledged: int = -1
    waiting: list[tuple[dict[str, Any], float | None, float]] = field(default_factory=list)

    def wall(self, true: float) -> float:
        return true + self.skew


@dataclass
class Plant:
    """Two or three instances, one topic, one reader; `spans` are the true intervals by run."""

    producers: list[Producer]
    feed: Feed = field(default_factory=Feed)
    now: float = 10.0
    spans: dict[RunKey, tuple[float, float]] = field(default_factory=dict)

    def step(self, who: int, what: str, amount: float) -> None:
        producer = self.producers[who % len(self.producers)]
        if what == "pass":
            self.now += amount
        elif what == "cover":
            if producer.since is None:
                producer.since = producer.proven = self.now
                producer.stated_since = WALL_US + int(producer.wall(self.now) * SECOND)
        elif what == "lose":
            producer.since = producer.stated_since = None
        elif what == "hear":
            if producer.since is not None:  # the exchange has answered a request from a moment ago
                producer.proven = max(producer.proven, self.now - amount / 10)
        elif what == "set clock":
            producer.skew += (amount - 1.0) * 3600 * 4
        elif what == "publish":
            self.publish(producer)
        elif what == "deliver":
            self.deliver(producer)

    def publish(self, producer: Producer) -> None:
        record = watermark(
            producer.name,
            producer.sequence,
            producer.wall(producer.proven),
            published=producer.wall(self.now),
            since=None,
            known=producer.acknowledged,
        )
        if producer.stated_since is not None:
            record["coverage"][0]["since"] = producer.stated_since
        producer.sequence += 1
        producer.waiting.append((record, producer.since, producer.proven))

    def deliver(self, producer: Producer) -> None:
        if not producer.waiting:
            return
        record, since, proven = producer.waiting.pop(0)
        if since is not None:
            run = RunKey(producer.name, record["coverage"][0]["since"])
            began = self.spans.get(run, (since, proven))[0]
            self.spans[run] = (began, proven)
        self.feed.say(record, self.now)
        producer.acknowledged = self.feed.offset

    def check(self) -> None:
        """A run that counts as continuous is: from the end of the earlier one to the beginning of the next."""
        for run in self.feed.coverage.runs(STREAM):
            began = self.spans[run.key][0]
            for earlier in run.holds:
                if earlier != run.key:
                    assert self.reaches(earlier, began), (earlier, run.key, self.spans)

    def reaches(self, run: RunKey, moment: float) -> bool:
        """Whether true intervals lead from this run to the moment without a break."""
        reached, grows = self.spans[run][1], True
        while grows and reached < moment:
            later = max((end for began, end in self.spans.values() if began <= reached), default=reached)
            grows, reached = later > reached, max(reached, later)
        return reached >= moment

    def second(self, acts: list[str]) -> None:
        """One second in which each instance does one thing at its own time, and all publish.

        queue: what it publishes is delayed; deaf: the exchange does not answer it.
        """
        for who, act in enumerate(acts):
            self.now += 1.0 / len(acts)
            if act in ("cover", "lose", "set clock"):
                self.step(who, act, 0.5 if self.now % 2 < 1 else 1.5)
            if act != "deaf":
                self.step(who, "hear", 0.5)
            self.publish(self.producers[who])
            while act != "queue" and self.producers[who].waiting:
                self.deliver(self.producers[who])
                self.check()


ACTS = st.sampled_from([*["go on"] * 4, *["cover"] * 3, *["lose"] * 2, *["queue"] * 3, *["deaf"] * 2, "set clock"])


@examples(2000, 1)
@given(seconds=st.lists(st.tuples(ACTS, ACTS), min_size=5, max_size=25), skew=st.floats(-4000, 4000))
def test_no_break_is_ever_overlooked(seconds: list[tuple[str, str]], skew: float) -> None:
    plant = Plant([Producer("a", 0.0), Producer("b", skew)])
    plant.step(0, "cover", 0)
    for acts in seconds:
        plant.second(list(acts))


@given(
    skews=st.tuples(st.floats(-4000, 4000), st.floats(-4000, 4000)),
    overlapping=st.integers(5, 20),
    lag=st.floats(0.0, 0.9),
)
def test_an_overlap_of_a_few_seconds_is_always_seen(skews: tuple[float, float], overlapping: int, lag: float) -> None:
    """Whatever their clocks: A for a while, then both, then B alone."""
    old, new = Producer("a", skews[0]), Producer("b", skews[1])
    plant = Plant([old, new])
    plant.step(0, "cover", 0)
    for second in range(5 + overlapping):
        plant.now += 1.0
        if second == 5:
            plant.step(1, "cover", 0)
        for who in (0, 1) if second >= 5 else (0,):
            plant.step(who, "hear", lag * 10)
            plant.step(who, "publish", 0)
            plant.step(who, "deliver", 0)
    [run] = [run for run in plant.feed.coverage.runs(STREAM) if run.key.instance == "b"]
    assert any(each.instance == "a" for each in run.holds)
    plant.check()
