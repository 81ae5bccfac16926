"""The resources of a publisher: its bound in resident memory, and only the Kafka producer in use."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from backpack_streams.bus import kafka_producer, producer_in_use
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import Publisher
from embedded_kafka import BlockingKafka

BOUND_MIB = 32
NOW_MS = 1_790_134_357_267
LEADERLESS = ("resources.a", "resources.b")

FILLED_AND_DRAINED = """
import asyncio, os, sys, time
from pathlib import Path

from aiokafka import AIOKafkaProducer
from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.topics import Topic

SERVERS, TOPIC, BOUND, VALUE = sys.argv[1], sys.argv[2], int(sys.argv[3]) * 2**20, int(sys.argv[4])
KEY, TIME = b"BTC_USDC_PERP", 1_790_000_000_000

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main():
    is_there = asyncio.Event()
    is_there.set()
    send_batch = AIOKafkaProducer.send_batch
    async def waits_for_kafka(self, *arguments, **options):
        await is_there.wait()
        return await send_batch(self, *arguments, **options)
    AIOKafkaProducer.send_batch = waits_for_kafka
    connection = KafkaConnection(SERVERS)
    await TopicAdmin(connection, "").apply([Topic(TOPIC, "Gap", 8)])
    publisher = Publisher(connection, BOUND)
    await publisher.start()
    await publisher.open([TOPIC])
    partition_queues = list(publisher.partition_queues())
    peak = handed = 0
    def fill(most, spare=False):
        nonlocal handed, peak
        for _ in range(most):
            if not partition_queues[handed % 8].append(KEY, os.urandom(VALUE), TIME + handed, spare=spare):
                break
            handed += 1
        peak = max(peak, resident())
    for _ in range(50):
        fill(200)
        await asyncio.sleep(0.02)
    for partition_queue in partition_queues:
        await partition_queue.settled()
    base, peak = resident(), 0
    is_there.clear()
    for partition_queue in partition_queues:
        partition_queue.append(KEY, b"x", TIME)
    await asyncio.sleep(0.1)
    fill(10**9)
    fill(10**9, spare=True)
    is_there.set()
    end = publisher.published_records + 3 * handed
    deadline = time.monotonic() + 30
    while publisher.published_records < end and time.monotonic() < deadline:
        fill(2000)
        await asyncio.sleep(0.001)
    print(peak - base, flush=True)
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("value_bytes", [60, 176, 600])
def test_the_bound_holds_in_resident_memory(kafka: BlockingKafka, value_bytes: int) -> None:
    """Kafka is unavailable until the buffer is full, then accepts everything: the buffer is full all the time."""
    topic = f"resources.bound-{value_bytes}"
    done = subprocess.run(
        [sys.executable, "-c", FILLED_AND_DRAINED, kafka.bootstrap_servers, topic, str(BOUND_MIB), str(value_bytes)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    peak_mib = int(done.stdout) / 2**20
    assert 0.8 * BOUND_MIB < peak_mib < 1.2 * BOUND_MIB


async def make_leaderless(cluster: BlockingKafka, index: int) -> None:
    """Create topics with all replicas on one broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, -1, -1, replica_assignments={0: [index + 1]}) for name in LEADERLESS])
    finally:
        await admin.close()


def tasks_of_aiokafka() -> list[str]:
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return [
        repr(each) for each in coroutines if "aiokafka" in getattr(getattr(each, "cr_code", None), "co_filename", "")
    ]


def sockets() -> int:
    """Number of open sockets of this process."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except OSError:  # the descriptor of the folder itself
            continue
    return found


async def until(what: str, holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("is_frozen", [False, True], ids=["killed", "frozen"])
async def test_replaced_producers_leave_no_tasks_and_sockets(
    kafka_cluster: BlockingKafka, monkeypatch: pytest.MonkeyPatch, is_frozen: bool
) -> None:
    """Partitions of one broker have no leader for a long time, so one producer after another fails."""
    for module, name, seconds in (
        (kafka_producer, "_REQUEST_TIMEOUT_MILLIS", 1500),
        (kafka_producer, "_ATTEMPT_SECONDS", 2.0),
        (kafka_producer, "_START_SECONDS", 3.0),
        (producer_in_use, "_RETIRE_SECONDS", 0.5),
    ):
        monkeypatch.setattr(module, name, seconds)
    index = 2
    if not is_frozen:
        await make_leaderless(kafka_cluster, index)
    sockets_before = sockets()
    publisher = Publisher(KafkaConnection(kafka_cluster.bootstrap_servers))
    await publisher.start()
    await publisher.open(LEADERLESS)
    partition_queues = list(publisher.partition_queues())
    pid = kafka_cluster.broker_pids[index]
    for partition_queue in partition_queues:
        partition_queue.append(b"key", b"before", NOW_MS)
        await asyncio.wait_for(partition_queue.settled(), 30)
    if is_frozen:
        os.kill(pid, signal.SIGSTOP)
    else:
        await asyncio.to_thread(kafka_cluster.stop_broker, index, kill=True)
    try:
        partition_queues[0].append(b"key", b"1", NOW_MS)
        await asyncio.sleep(0.75)  # half of the request timeout: one fails while the other is in flight
        partition_queues[1].append(b"key", bytes(400_000), NOW_MS)
        await until("producers are replaced", lambda: publisher.producer_failures >= 4, 90)
    finally:
        if is_frozen:
            os.kill(pid, signal.SIGCONT)
        else:
            await asyncio.to_thread(kafka_cluster.start_broker, index)
    for partition_queue in partition_queues:
        await asyncio.wait_for(partition_queue.settled(), 90)
    await until("one sender is left", lambda: str(tasks_of_aiokafka()).count("_sender_routine") == 1, 30)
    assert await publisher.close() == 0
    assert tasks_of_aiokafka() == []
    await until("the sockets are closed", lambda: sockets() <= sockets_before, 10)
