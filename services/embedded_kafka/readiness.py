"""Waits until a broker answers requests and knows all expected brokers: an open port alone proves little."""

import asyncio
import logging
from collections.abc import Collection

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

__all__ = ["answers_with", "wait_until_ready"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.15
_REQUEST_TIMEOUT_SECONDS = 5.0


async def wait_until_ready(host: str, port: int, node_ids: Collection[int]) -> None:
    """Return once the broker lists all of `node_ids` as alive. Has no timeout of its own: cancel it.

    Args:
        host: address of the broker.
        port: port of a PLAINTEXT listener.
        node_ids: the brokers that must be alive, this one included.
    """
    while True:
        if await _accepts(host, port) and await answers_with(host, port, node_ids):
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:  # not listening yet
        return False
    writer.close()
    return True


async def answers_with(host: str, port: int, node_ids: Collection[int]) -> bool:
    """Whether a PLAINTEXT listener answers a DescribeCluster request with at least these live brokers, within 5 s.

    Args:
        host: address of the broker.
        port: port of a PLAINTEXT listener.
        node_ids: the brokers that must be alive.
    """
    client = AIOKafkaAdminClient(
        bootstrap_servers=f"{host}:{port}",
        client_id="backpack-streams-readiness",
        request_timeout_ms=int(_REQUEST_TIMEOUT_SECONDS * 1000),
    )
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
            await client.start()
            cluster = await client.describe_cluster()
    except (KafkaError, OSError, TimeoutError) as error:
        logger.debug("broker not ready", extra={"port": port, "error": str(error)})
        return False
    finally:
        await client.close()
    return set(node_ids) <= {broker["node_id"] for broker in cluster["brokers"]}
