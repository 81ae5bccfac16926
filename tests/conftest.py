"""What holds for every test: Hypothesis judges what is right, never how fast the machine is; one real broker serves them all."""

from collections.abc import Iterator

import pytest

from backpack_streams.embedded import BlockingKafka, EmbeddedKafka
from thoroughness import load_profile

load_profile()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingKafka]:
    """A started broker; `.bootstrap_servers` is its address. Use topics of your own and leave the broker running."""
    with BlockingKafka(EmbeddedKafka(tmp_path_factory.mktemp("kafka"), port=0)) as broker:
        yield broker
