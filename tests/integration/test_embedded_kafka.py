import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from backpack_streams.errors import EmbeddedError
from embedded_kafka import BlockingKafka, EmbeddedKafka

TOPIC = "embedded"
YEARS_AGO_MS = 1_500_000_000_000


async def make_topic(servers: str, topic: str = TOPIC) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def write(servers: str, values: list[bytes], topic: str = TOPIC) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0, timestamp_ms=YEARS_AGO_MS)
    finally:
        await producer.stop()


async def read(servers: str, count: int, topic: str = TOPIC) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return [bytes((await consumer.getone()).value) for _ in range(count)]
    finally:
        await consumer.stop()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not is_running(pid)


async def test_written_records_are_read(kafka: BlockingKafka) -> None:
    values = [str(number).encode() for number in range(100)]
    await make_topic(kafka.bootstrap_servers)
    await write(kafka.bootstrap_servers, values)
    assert await read(kafka.bootstrap_servers, 100) == values


async def test_a_consumer_group_works(kafka: BlockingKafka) -> None:
    await make_topic(kafka.bootstrap_servers, "grouped")
    await write(kafka.bootstrap_servers, [b"one"], "grouped")
    consumer = AIOKafkaConsumer(
        "grouped", bootstrap_servers=kafka.bootstrap_servers, group_id="readers", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            assert (await consumer.getone()).value == b"one"
        await consumer.commit()
    finally:
        await consumer.stop()


async def test_kafka_s_own_tools_run(kafka: BlockingKafka) -> None:
    command = kafka.kafka.runtime.command(
        "org.apache.kafka.tools.GetOffsetShell", "--bootstrap-server", kafka.bootstrap_servers
    )
    answer = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"port {port} on 127.0.0.1 is in use .*--port"):
            await EmbeddedKafka(tmp_path, port=port).start()


async def test_a_folder_in_use_is_named(kafka: BlockingKafka) -> None:
    folder = kafka.kafka.data_dir
    with pytest.raises(EmbeddedError, match="is in use by another embedded Kafka"):
        await EmbeddedKafka(folder, port=0).start()
    assert kafka.broker_pids


async def test_too_little_disk_space_is_refused_before_anything_starts(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path, port=0, minimum_free_bytes=1 << 60)
    with pytest.raises(EmbeddedError, match="MiB free on the disk under"):
        await kafka.start()
    assert not kafka.broker_pids
    assert "broker-1" not in os.listdir(tmp_path)


async def test_a_wrong_property_is_reported_with_the_path_of_the_log(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path, port=0, properties={"num.io.threads": "many"})
    with pytest.raises(EmbeddedError, match=r"num\.io\.threads.*\(log: .*broker-1\.log\)"):
        await kafka.start()
    assert not kafka.broker_pids


def test_two_brokers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="choose 1 or 3"):
        EmbeddedKafka(tmp_path, brokers=2)


async def test_an_unexpected_end_of_a_broker_is_reported_and_it_restarts(kafka: BlockingKafka) -> None:
    await make_topic(kafka.bootstrap_servers, "killed")
    await write(kafka.bootstrap_servers, [b"kept"], "killed")
    end = asyncio.create_task(asyncio.to_thread(kafka.wait))
    await asyncio.sleep(0.1)
    os.kill(kafka.broker_pids[0], signal.SIGKILL)
    try:
        with pytest.raises(EmbeddedError, match=r"broker 1 ended unexpectedly \(by signal 9\)"):
            await end
        assert kafka.broker_pids == {}
    finally:
        await asyncio.to_thread(kafka.start_broker, 0)
    assert await read(kafka.bootstrap_servers, 1, "killed") == [b"kept"]


COMMAND = """
import asyncio, sys
from pathlib import Path
from embedded_kafka.command import run_kafka
from embedded_kafka.settings import EmbeddedKafkaSettings

asyncio.run(run_kafka(EmbeddedKafkaSettings(port=0, data_dir=Path(sys.argv[1]))))
"""


def brokers_that_use(folder: Path) -> set[int]:
    """Process ids of the brokers (not of their watchers) whose command line names the folder."""
    listing = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in listing.splitlines()]
    return {
        int(pid)
        for pid, program, *arguments in lines
        if Path(program).name == "java" and "kafka.Kafka" in arguments and str(folder) in arguments[-1]
    }


@contextmanager
def command_on(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The command running with this data folder."""
    with subprocess.Popen([sys.executable, "-c", COMMAND, str(folder)], stdout=subprocess.PIPE) as command:
        try:
            yield command
        finally:
            command.kill()


def said_ready(command: "subprocess.Popen[bytes]") -> str:
    """The address in the line that the command prints when it is ready."""
    assert command.stdout is not None
    word, servers = command.stdout.readline().decode().split()
    assert word == "ready"
    return servers


async def test_neither_a_killed_parent_nor_ctrl_c_leaves_a_broker(tmp_path: Path) -> None:
    with command_on(tmp_path) as first:
        servers = await asyncio.to_thread(said_ready, first)
        await make_topic(servers)
        await write(servers, [b"kept"])
        (orphan,) = brokers_that_use(tmp_path)
        first.kill()

    # Started at once: it waits for the orphan, which holds the folder until it ends.
    with command_on(tmp_path) as second:
        assert await asyncio.to_thread(is_gone_within, orphan, 10)
        servers = await asyncio.to_thread(said_ready, second)
        assert await read(servers, 1) == [b"kept"]
        second.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(second.wait, 20) == 0
    assert not brokers_that_use(tmp_path)
    host, _, port = servers.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1).close()

    with pytest.raises(EmbeddedError, match=r"holds a cluster of 1 broker\(s\), not 3"):
        await EmbeddedKafka(tmp_path, port=0, brokers=3).start()


def test_sigterm_during_the_start_leaves_no_broker(tmp_path: Path) -> None:
    with command_on(tmp_path) as command:
        deadline = time.monotonic() + 60
        while not brokers_that_use(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        command.terminate()
        assert command.wait(20) == 0
        assert not brokers_that_use(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB, if the system permits one."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("no permission to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_is_reported(small_disk: Path) -> None:
    async with EmbeddedKafka(small_disk / "data", port=0, minimum_free_bytes=8 << 20) as kafka:
        await make_topic(kafka.bootstrap_servers)
        filling = asyncio.create_task(write(kafka.bootstrap_servers, [os.urandom(900_000)] * 100))
        try:
            async with asyncio.timeout(60):
                with pytest.raises(EmbeddedError, match=f"the disk under {small_disk / 'data'} is full"):
                    await kafka.wait()
        finally:
            # The first cancel interrupts the sending, the second one the producer's wait for its unsent records.
            while not filling.done():
                filling.cancel()
                await asyncio.wait([filling], timeout=0.5)
