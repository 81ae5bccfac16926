"""Resharding under traffic, 2 to 3 shards and back: the new producers are ready before the old ones stop, so readers see no difference."""

import asyncio
from collections import Counter
from pathlib import Path

from backpack_streams.books import Gap, RecordStream, Status
from embedded_kafka import BlockingKafka
from plant import Plant, Service, running_plant, same_book, wait_until
from reading import read_topic
from witness import Witness

PREFIX = "shards."
SYMBOLS = 60
RATE = 200
START_SECONDS = 150.0
STREAMS = ("depth", "trade")


def start_shards(plant: Plant, count: int) -> list[Service]:
    """Start all shards at once, like an upgrade of the chart, and wait until they are ready."""
    flags = ("--streams", ",".join(STREAMS), "--shard-count", str(count), "--shard-index")
    shards = [plant.start("market-producer", *flags, str(index)) for index in range(count)]
    for shard in shards:
        wait_until(f"a shard of {count} is ready", shard.is_ready, START_SECONDS)
    return shards


def carriers(plant: Plant, since: int) -> tuple[dict[str, str], int]:
    """The shard that subscribed to each depth stream, by the status records from offset `since` on; and their end offset."""
    records = read_topic(plant.bootstrap_servers, PREFIX + "ops.stream_status", "StreamStatus")
    said = [each.value for each in records if each.offset >= since and each.value]
    by_symbol = {
        each["symbol"]: str(each["service"])
        for each in said
        if each["status"] == "SUBSCRIBED" and each["stream"].startswith("depth.")
    }
    return by_symbol, records[-1].offset + 1


def gaps(plant: Plant) -> list[tuple[str, str]]:
    records = read_topic(plant.bootstrap_servers, PREFIX + "ops.gap", "Gap")
    return [(each.value["stream"], each.value["reason"]) for each in records if each.value]


def stop(shards: list[Service]) -> None:
    assert [shard.stop() for shard in shards] == [0] * len(shards)


async def count_once(plant: Plant, topic: str, expected: dict[str, int]) -> Counter[str]:
    """Count the records of each symbol from the library, until there are as many as expected or no more come."""
    found: Counter[str] = Counter()
    async with RecordStream(plant.bootstrap_servers, topic, start="beginning", topic_prefix=PREFIX) as records:
        try:
            async with asyncio.timeout(30):
                async for record in records:
                    assert not isinstance(record, Gap), record
                    found[record.symbol] += 1
                    if found.total() == sum(expected.values()) and records.is_caught_up:
                        break
        except TimeoutError:
            pass  # the caller compares
    return found


def hand_over(plant: Plant, witness: Witness, old: list[Service], count: int) -> list[Service]:
    """The new shards are ready and run for a while before the old ones are stopped."""
    new = start_shards(plant, count)
    stop(old)
    before = witness.applied()
    wait_until("traffic goes on", lambda: witness.applied() >= before + 2 * RATE)
    return new


def assert_few_moved(symbols: frozenset[str], phases: list[dict[str, str]]) -> None:
    """Only to the third shard, and back again."""
    two, three, two_again = phases
    assert two.keys() == three.keys() == two_again.keys() == symbols
    moved = {symbol for symbol in symbols if two[symbol] != three[symbol]}
    assert {three[symbol] for symbol in moved} == {"market-producer-2"}
    assert moved == {symbol for symbol in symbols if three[symbol] == "market-producer-2"}
    assert SYMBOLS // 6 <= len(moved) <= SYMBOLS // 2
    assert two_again == two


def test_two_shards_become_three_and_two_again_without_a_gap(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, PREFIX) as plant:
        exchange = plant.start_exchange("--symbols", str(SYMBOLS), "--rate", str(RATE), "--start", "control")
        symbols = frozenset(exchange.ask("/books"))
        plant.start_ready("rest-poller")
        shards = start_shards(plant, 2)
        exchange.play()
        with Witness(plant) as witness:
            wait_until("all books are LIVE", lambda: witness.sees_live(SYMBOLS))
            started = sorted((f"{channel}.{symbol}", "STREAM_START") for channel in STREAMS for symbol in symbols)
            wait_until("every stream's start is on record", lambda: len(gaps(plant)) >= len(started))
            assert sorted(gaps(plant)) == started
            carried, end = carriers(plant, 0)
            phases = [carried]
            for count in (3, 2):
                shards = hand_over(plant, witness, shards, count)
                carried, end = carriers(plant, end)
                phases.append(carried)
            exchange.finish()
            truth, made = exchange.ask("/books"), exchange.ask("/sequences")
            wait_until("all was read", lambda: witness.reached() == {s: b["last_update_id"] for s, b in truth.items()})
        for symbol in symbols:
            assert [sight for sight in witness.since_live(symbol) if sight.status is not Status.LIVE] == []
        assert sorted(gaps(plant)) == started, "the handovers cost none"
        assert_few_moved(symbols, phases)
        for topic, spec, field in (("market.depth", "depth", "frames"), ("market.trade", "trades", "count")):
            expected = {symbol: made[symbol][spec][field] for symbol in symbols if made[symbol][spec][field]}
            assert asyncio.run(count_once(plant, topic, expected)) == expected
        books = plant.books()
        assert all(same_book(books[symbol], book) for symbol, book in truth.items())
        stop(shards)
