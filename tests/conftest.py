"""Shared by all tests: Hypothesis without deadlines, and one real broker."""

import socket
from collections.abc import Iterator

import pytest

from embedded_kafka import BlockingKafka, EmbeddedKafka
from thoroughness import load_profile

load_profile()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingKafka]:
    """A running broker; `.bootstrap_servers` is its address. Use your own topics and leave the broker running."""
    with BlockingKafka(EmbeddedKafka(tmp_path_factory.mktemp("kafka"), port=0)) as broker:
        yield broker


@pytest.fixture
def dead() -> Iterator[int]:
    """A port that does not answer a SYN: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for each in fillers:
            each.close()
