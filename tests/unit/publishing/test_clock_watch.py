"""Compares our clock with the exchange's: what is measured from an answer, and what is logged."""

import logging
from typing import Any

import pytest

from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.rest_errors import RestNoAnswerError, RestRequest
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.publishing import clock_watch
from backpack_streams.publishing.clock_watch import ClockWatch

NOW_US = 1_800_000_000_000_000


class FakeRest:
    """Answers as set: milliseconds, or None for no answer."""

    def __init__(self) -> None:
        self.exchange_ms: int | None = NOW_US // 1000
        self.age_seconds: int | None = None

    async def time_ms(self, **_: Any) -> Answer[int]:
        if self.exchange_ms is None:
            raise RestNoAnswerError(RestRequest("GET", "/api/v1/time", None), "nobody there", advice="wait")
        return Answer(body=self.exchange_ms, age_seconds=self.age_seconds, received_time_us=NOW_US, status=200)


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> FakeRest:
    monkeypatch.setattr(clock_watch, "now_us", lambda: NOW_US)
    return FakeRest()


def watch_of(rest: FakeRest) -> ClockWatch:
    return ClockWatch(rest, ExchangeClock())  # type: ignore[arg-type]  # it has the one method that is called


async def test_a_wrong_clock_is_reported_once(rest: FakeRest, caplog: pytest.LogCaptureFixture) -> None:
    watch = watch_of(rest)
    rest.exchange_ms = NOW_US // 1000 - 5_000
    with caplog.at_level(logging.WARNING):
        await watch.compare()
        await watch.compare()
    assert watch.clock.skew is not None
    assert round(watch.clock.skew.ahead_ms) == 5_000
    assert [record.message[:45] for record in caplog.records] == ["this machine's clock is 5.00 s ahead of the e"]


async def test_a_right_clock_is_not_reported(rest: FakeRest, caplog: pytest.LogCaptureFixture) -> None:
    watch = watch_of(rest)
    with caplog.at_level(logging.INFO):
        await watch.compare()
    assert watch.clock.skew is not None
    assert caplog.records == []


async def test_a_cached_answer_is_ignored(rest: FakeRest) -> None:
    watch = watch_of(rest)
    rest.age_seconds = 30
    await watch.compare()
    assert watch.clock.skew is None


async def test_an_outage_is_reported_once_and_the_last_measurement_is_kept(
    rest: FakeRest, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_of(rest)
    await watch.compare()
    known = watch.clock.skew
    rest.exchange_ms = None
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            await watch.compare()
    assert watch.clock.skew is known
    assert [record.message for record in caplog.records] == ["the exchange's clock cannot be asked"]
