"""The embedded Kafka and the schema registry as programs that a supervisor can start again."""

from backpack_streams.demo.supervisor import End
from backpack_streams.errors import EmbeddedError
from embedded_kafka import EmbeddedKafka, EmbeddedRegistry

__all__ = ["KafkaProgram", "RegistryProgram"]

_ONLY_BROKER = 0


class KafkaProgram:
    """A started Kafka of one broker. Its data outlives the process, so services and readers go on where they were."""

    name = "kafka"
    is_ready_once_started = True

    def __init__(self, kafka: EmbeddedKafka) -> None:
        self._kafka = kafka

    @property
    def pid(self) -> int | None:
        """Process id; None unless it runs."""
        return self._kafka.broker_pids.get(_ONLY_BROKER)

    async def start(self) -> None:
        """Start the broker again; return when it takes traffic.

        Raises:
            EmbeddedError: it ended during its start; the message says why (a full disk, a port in use).
        """
        await self._kafka.start_broker(_ONLY_BROKER)

    async def ended(self) -> End:
        """Wait until the broker has ended."""
        try:
            await self._kafka.wait()
        except EmbeddedError as error:
            return End(str(error))
        return End("kafka was stopped")


class RegistryProgram:
    """A started schema registry."""

    name = "registry"
    is_ready_once_started = True

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self._registry = registry

    @property
    def pid(self) -> int | None:
        """Process id; None unless it runs."""
        return self._registry.pid

    async def start(self) -> None:
        """Start the registry again; return when it answers.

        Raises:
            EmbeddedError: it ended during its start; the message says why.
        """
        await self._registry.start()

    async def ended(self) -> End:
        """Wait until the registry has ended."""
        try:
            await self._registry.wait()
        except EmbeddedError as error:
            return End(str(error))
        return End("the schema registry was stopped")
