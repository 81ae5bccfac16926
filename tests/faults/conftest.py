"""A real cluster of three brokers for fault tests, started by the first test that needs it."""

from collections.abc import Iterator

import pytest

from embedded_kafka import BlockingKafka, EmbeddedKafka


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingKafka]:
    """Three running brokers. A test that stops or kills one starts it again."""
    with BlockingKafka(EmbeddedKafka(tmp_path_factory.mktemp("kafka-cluster"), port=0, brokers=3)) as cluster:
        yield cluster
