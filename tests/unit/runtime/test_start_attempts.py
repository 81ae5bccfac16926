"""A service that cannot start yet is built and opened again; one that never can ends at once."""

import asyncio
from collections.abc import Callable, Iterable

import pytest
from aiokafka.errors import LeaderNotAvailableError, TopicAuthorizationFailedError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backpack_streams.bus.connection import KafkaConnection, KafkaUnreachableError
from backpack_streams.credentials import UnfitFilesError
from backpack_streams.errors import BackpackStreamsError, BusError, UsageError
from backpack_streams.runtime import start_attempts
from backpack_streams.runtime.service import ServiceHost
from backpack_streams.runtime.settings import MetricsSettings
from backpack_streams.runtime.start_attempts import FILES_FIT_WITHIN_SECONDS, StartAttempts

AWAY = KafkaUnreachableError("Kafka is unreachable at kafka:9092")


def refused(cause: Exception) -> BusError:
    error = KafkaConnection("kafka:9092").explain(cause)
    error.__cause__ = cause
    return error


def test_kafka_is_waited_for_without_a_limit() -> None:
    attempts = StartAttempts()
    for hours in range(1000):
        delay = attempts.delay_seconds(AWAY, hours * 3600.0)
        assert delay is not None
        assert 0 <= delay <= 10


def test_a_broker_that_is_not_ready_yet_is_waited_for() -> None:
    assert StartAttempts().delay_seconds(refused(LeaderNotAvailableError()), 0.0) is not None


@pytest.mark.parametrize(
    "error",
    [
        refused(TopicAuthorizationFailedError("market.trade")),
        BusError("topic backpack.market.trade does not exist"),
        UsageError("unknown symbol"),
    ],
    ids=str,
)
def test_a_permanent_error_ends_the_service(error: BackpackStreamsError) -> None:
    assert StartAttempts().delay_seconds(error, 0.0) is None


def test_mismatched_files_have_a_minute() -> None:
    attempts, unfit = StartAttempts(), UnfitFilesError("the TLS files are unusable")
    assert attempts.delay_seconds(unfit, 100.0) is not None
    assert attempts.delay_seconds(unfit, 100.0 + FILES_FIT_WITHIN_SECONDS) is not None
    assert attempts.delay_seconds(unfit, 100.1 + FILES_FIT_WITHIN_SECONDS) is None


def test_the_minute_starts_with_the_rotation_not_with_the_start() -> None:
    attempts, unfit = StartAttempts(), UnfitFilesError("the TLS files are unusable")
    assert attempts.delay_seconds(unfit, 0.0) is not None
    assert attempts.delay_seconds(AWAY, 1.0) is not None
    assert attempts.delay_seconds(unfit, 2 * FILES_FIT_WITHIN_SECONDS) is not None


class Attempt(Collector):
    """A service that reports its attempt number in /metrics; `opens` sets how its opening ends."""

    def __init__(self, number: int, opens: Callable[[int], None]) -> None:
        self._number = number
        self._opens = opens

    async def open(self) -> object:
        self._opens(self._number)
        return self

    async def run(self, stop: asyncio.Event) -> None:
        stop.set()

    def readiness(self) -> list[str]:
        return []

    def failures(self) -> list[str]:
        return []

    def collectors(self) -> Iterable[Collector]:
        return [self]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily("attempt", "Which attempt it is.", value=self._number)


class Attempts:
    """Builds services until one opens, by default at the third attempt."""

    def __init__(self, opens_at: int = 3) -> None:
        self.opens_at = opens_at
        self.built: list[Attempt] = []
        self.seen: list[list[str]] = []
        self.first = asyncio.Event()
        self.host = ServiceHost("test", self.build, MetricsSettings(metrics_port=0))

    def build(self) -> Attempt:
        self.first.set()
        self.built.append(Attempt(len(self.built) + 1, self.opens))
        return self.built[-1]

    def opens(self, number: int) -> None:
        self.seen.append(self.host.not_ready())
        if number < self.opens_at:
            raise AWAY


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other without a pause."""
    monkeypatch.setattr(start_attempts, "_FIRST_RETRY_SECONDS", 1e-6)
    monkeypatch.setattr(start_attempts, "_LONGEST_RETRY_SECONDS", 1e-6)


@pytest.mark.usefixtures("at_once")
async def test_each_attempt_has_a_new_service_and_readyz_gives_the_reason() -> None:
    attempts = Attempts()
    await attempts.host.run()
    assert len(attempts.built) == 3
    waiting = ["starting", f"the last attempt failed: {AWAY}"]
    assert attempts.seen == [["starting"], waiting, waiting]


async def test_a_signal_ends_the_wait_at_once() -> None:
    attempts = Attempts(opens_at=1_000_000)
    running = asyncio.create_task(attempts.host.run())
    await asyncio.wait_for(attempts.first.wait(), 60)
    attempts.host._stop.set()  # as the signal handler does
    await asyncio.wait_for(running, 60)
    assert attempts.host.not_ready() == ["stopping"]


async def test_a_permanent_error_is_raised() -> None:
    def build() -> Attempt:
        def opens(_: int) -> None:
            raise BusError("topic backpack.market.trade does not exist")

        return Attempt(1, opens)

    with pytest.raises(BusError, match="does not exist"):
        await ServiceHost("test", build, MetricsSettings(metrics_port=0)).run()
