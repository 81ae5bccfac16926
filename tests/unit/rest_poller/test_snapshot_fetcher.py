"""What the snapshot fetcher does with answers that cannot become a snapshot."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.reader import Reader
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import decode_depth
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.rest_poller import snapshot_fetcher as module
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.rest_poller.snapshot_fetcher import SnapshotFetcher
from backpack_streams.rest_poller.snapshot_plan import UNFIT_SECONDS
from backpack_streams.topic_partition import TopicPartition
from topics_in_memory import SECOND, T0

UNFIT = b'{"bids":[["0.0000000000000000001","1"]],"asks":[["2","1"]],"lastUpdateId":"5","timestamp":1790000000000000}'


class Rest:
    """An exchange with one book."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked = 0

    async def depth(self, symbol: str, *_: object, **__: object) -> Answer[DepthSnapshot]:
        self.asked += 1
        return Answer(decode_depth(self.body, symbol), None, 1_790_000_000_000_000, 200)


class Offsets:
    """Empty partitions."""

    async def ends(self, topic_partitions: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(topic_partitions, 0)

    async def has(self, _: str) -> bool:
        return False

    async def topic_partitions(self, topic: str) -> list[TopicPartition]:
        return [(topic, number) for number in range(8)]


def fetcher_of(rest: object, letters: list[dict[str, Any]]) -> SnapshotFetcher:
    codec = Codec()
    publishing: Any = SimpleNamespace(
        prefix="t.",
        connection=None,
        codec=codec,
        reporter=SimpleNamespace(dead_letter=lambda **letter: letters.append(letter)),
        encoder=lambda name: codec.encoder("BookSnapshot", "t." + name),
    )
    return SnapshotFetcher(cast(Publishing, publishing), cast(RestClient, rest), RestPollerSettings(), lambda *_: None)


class SlowRest(Rest):
    """An exchange that does not answer in time."""

    async def depth(self, symbol: str, *_: object, **__: object) -> Answer[DepthSnapshot]:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_book_whose_fetch_was_cancelled_is_fetched_again() -> None:
    rest = SlowRest(UNFIT)
    snapshot_fetcher = fetcher_of(rest, [])
    snapshot_fetcher.set_open(["A"])
    for asked in (1, 2):  # a reader that fails cancels the workers, and all are started again
        work = asyncio.create_task(snapshot_fetcher._work(cast(Reader, Offsets()), cast(Reader, None)))
        async with asyncio.timeout(10):
            while rest.asked < asked:  # noqa: ASYNC110  # the fetcher signals nothing
                await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert snapshot_fetcher.refused["failed"] == 0, "the exchange did not fail"


async def test_a_snapshot_that_does_not_fit_is_a_dead_letter_and_not_requested_again_at_once() -> None:
    letters: list[dict[str, Any]] = []
    rest = Rest(UNFIT)
    snapshot_fetcher = fetcher_of(rest, letters)
    snapshot_fetcher.set_open(["A"])
    work = asyncio.create_task(snapshot_fetcher._work(cast(Reader, Offsets()), cast(Reader, None)))
    async with asyncio.timeout(10):
        while snapshot_fetcher._plan._fetching or not letters:  # noqa: ASYNC110  # the fetcher signals nothing
            await asyncio.sleep(0)
    work.cancel()
    [letter] = letters
    assert (letter["reason"], letter["symbol"], letter["origin"]) == (reports.VALUE_DOES_NOT_FIT, "A", "/api/v1/depth")
    assert b"0.0000000000000000001" in letter["payload"]
    assert (rest.asked, snapshot_fetcher.refused["unfit"], snapshot_fetcher.published) == (1, 1, 0)
    due = snapshot_fetcher._plan.next_due()
    assert due is not None
    assert due > module.time.monotonic() + UNFIT_SECONDS - 60


def test_restarts_of_coverage_count_from_the_beginning_of_a_recreated_topic_of_watermarks() -> None:
    snapshot_fetcher = fetcher_of(Rest(UNFIT), [])
    snapshot_fetcher.set_open(["A"])
    snapshot_fetcher._watermarks_began = 600_000
    plan = snapshot_fetcher._plan
    request = plan.next(module.time.monotonic())
    assert request is not None
    plan.done(request, 100, module.time.monotonic(), watermark_offset=600_010)

    def take(offset: int, sequence: int, since: int) -> None:
        through = T0 + sequence * SECOND
        row = {
            "service": "p",
            "instance": "i",
            "sequence": sequence,
            "complete_through": through,
            "published_time": through,
            "interval_ms": 1000,
            "is_final": False,
            "offsets": [],
            "coverage_sequence": sequence,
            "coverage": [{"since": since, "until": None, "streams": ["depth.A"]}],
        }
        snapshot_fetcher._take_watermark(row, offset)
        snapshot_fetcher._watermarks.offsets["t.ops.watermark", 0] = offset + 1  # as `FollowedTopic` does

    for offset in range(599_900, 600_020):
        take(offset, offset, T0)
    assert plan.next(module.time.monotonic()) is None, "covered since before the snapshot"
    for offset in range(60):
        take(offset, 600_020 + offset, T0 + SECOND)
    assert plan.next(module.time.monotonic()) is not None
