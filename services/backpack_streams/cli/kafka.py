"""The command `kafka`: only the embedded Kafka."""

import asyncio

from backpack_streams.cli.settings import EmbeddedKafkaSettings
from backpack_streams.embedded.command import run_kafka


def run(settings: EmbeddedKafkaSettings) -> None:
    """Run the embedded Kafka until a signal."""
    asyncio.run(run_kafka(port=settings.port, data_dir=settings.data_dir, brokers=settings.brokers))
