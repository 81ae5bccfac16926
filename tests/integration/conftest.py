"""One real broker for all integration tests, started by the first test that asks for it."""

from collections.abc import Iterator

import pytest

from backpack_streams.embedded import BlockingKafka, EmbeddedKafka


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingKafka]:
    """A started broker; `.bootstrap_servers` is its address. Use topics of your own and leave the broker running."""
    with BlockingKafka(EmbeddedKafka(tmp_path_factory.mktemp("kafka"), port=0)) as broker:
        yield broker
