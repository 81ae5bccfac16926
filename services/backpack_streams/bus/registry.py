"""Remembers what a schema registry has answered. Ids and schemas are fetched once, off the event loop, and kept for good.

An id never changes its meaning, so an outage of the registry affects only unknown ids and schemas:

- A writer fetches its ids before its first record. It waits while the registry is unavailable, and logs that: records
  in the other framing would be unreadable for readers that use the registry.
- A reader that meets an unknown id retries for a few seconds. After that the record counts as unreadable; a later
  record with the same id asks again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from backpack_streams.backoff import Backoff
from backpack_streams.bus.governance import register
from backpack_streams.bus.registry_client import (
    NotRegisteredError,
    Registry,
    RegistryAwayError,
    RegistryClient,
    RegistryConnection,
    RegistryError,
)
from backpack_streams.bus.schemas import Schema
from backpack_streams.errors import CodecError

__all__ = ["KnownSchemas", "known_schemas"]

logger = logging.getLogger(__name__)

READER_PATIENCE_SECONDS = 5.0
MOST_UNKNOWN = 1_000
"""Maximum number of unresolved ids to remember, the newest ones: foreign records may name any id."""
ASK_AGAIN_SECONDS = 5.0
"""Minimum time between two requests for an unresolved id."""
_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 15.0

Answer = TypeVar("Answer")


class _Unknown(NamedTuple):
    """Why an id is unknown, and the earliest time to ask again (monotonic seconds)."""

    reason: str
    ask_again_at: float


class KnownSchemas:
    """The codec's `SchemaRegistry`: answers from memory, which `fetch_ids` and `fetch_texts` fill."""

    def __init__(
        self, registry: Registry, *, registers: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            registry: the blocking client.
            registers: whether to register a schema that its subject does not hold. If False, that is an error.
            clock: monotonic seconds.
        """
        self._registry = registry
        self._registers = registers
        self._clock = clock
        self._ids: dict[tuple[str, str], int] = {}
        self._texts: dict[int, str] = {}
        self._unknown: dict[int, _Unknown] = {}
        self.is_up: bool | None = None
        """Whether the registry answered the last request; None before the first."""
        self.failures = 0
        """How many requests were not answered, retries included."""

    def schema_id(self, subject: str, schema: Schema) -> int:
        """Return the registry's id of `schema` under `subject`.

        Raises:
            RegistryError: the id was not fetched.
        """
        try:
            return self._ids[subject, schema.canonical_text]
        except KeyError:
            raise RegistryError(f"the id of {schema.name} under {subject} was not fetched before its use") from None

    def schema_text(self, schema_id: int) -> str | None:
        """Return the schema's JSON text, None if the id is unknown."""
        return self._texts.get(schema_id)

    def why_unknown(self, schema_id: int) -> str:
        """Return why an id is unknown, for messages."""
        unknown = self._unknown.get(schema_id)
        return "the schema registry was not asked" if unknown is None else unknown.reason

    async def fetch_ids(self, wanted: Mapping[str, Schema]) -> None:
        """Fetch the id of each schema, by subject. Retries without limit while the registry is unavailable.

        Raises:
            RegistryError: the registry does not hold a schema, or refuses it.
            UsageError: a TLS file or secret of the connection is unusable.
        """
        for subject, schema in wanted.items():
            key = subject, schema.canonical_text
            if key not in self._ids:
                schema_id = await self._patiently(partial(self._id_of, subject, schema), None)
                self._ids[key] = schema_id
                self._texts[schema_id] = schema.text

    async def fetch_texts(self, schema_ids: Iterable[int]) -> None:
        """Fetch schemas by id. Ids that cannot be fetched stay unknown; no error is raised for them."""
        now = self._clock()
        for schema_id in schema_ids:
            unknown = self._unknown.get(schema_id)
            if schema_id in self._texts or (unknown is not None and now < unknown.ask_again_at):
                continue
            # Wait for an id only once, because each wait delays all other records.
            patience = READER_PATIENCE_SECONDS if unknown is None else 0.0
            try:
                self._texts[schema_id] = await self._patiently(partial(self._registry.text, schema_id), patience)
                self._unknown.pop(schema_id, None)
            except CodecError as error:
                self._unknown.pop(schema_id, None)
                self._unknown[schema_id] = _Unknown(str(error), self._clock() + ASK_AGAIN_SECONDS)
                if len(self._unknown) > MOST_UNKNOWN:
                    del self._unknown[next(iter(self._unknown))]
                logger.warning("unknown schema id", extra={"schema_id": schema_id, "error": str(error)})

    def _id_of(self, subject: str, schema: Schema) -> int:
        try:
            return self._registry.lookup(subject, schema.canonical_text).schema_id
        except NotRegisteredError as error:
            if not self._registers:
                raise NotRegisteredError(
                    f"{error}: this version's {schema.name} is not registered; run `backpack-streams schemas register`, "
                    "or start with --register-schemas"
                ) from error
        outcome = register(self._registry, subject, schema)
        logger.info("schema registered", extra=outcome._asdict())
        return outcome.schema_id

    async def _patiently(self, question: Callable[[], Answer], patience_seconds: float | None) -> Answer:
        """Ask in a thread, retrying while the registry is unavailable, for at most `patience_seconds` (None: without limit)."""
        deadline = None if patience_seconds is None else self._clock() + patience_seconds
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        while True:
            try:
                return await self._ask(question)
            except RegistryAwayError as error:
                delay = backoff.next_delay_seconds()
                if deadline is not None and self._clock() + delay >= deadline:
                    raise
                logger.warning(
                    "waiting for the schema registry", extra={"error": str(error), "next_try_seconds": round(delay, 1)}
                )
            await asyncio.sleep(delay)

    async def _ask(self, question: Callable[[], Answer]) -> Answer:
        try:
            answer = await asyncio.to_thread(question)
        except RegistryAwayError:
            self.is_up = False
            self.failures += 1
            raise
        except CodecError:  # an error from the registry still shows that it is available
            self.is_up = True
            raise
        self.is_up = True
        return answer


def known_schemas(connection: RegistryConnection, *, registers: bool = False) -> KnownSchemas:
    """Return the memory of the registry at `connection`, for `Codec`.

    Args:
        connection: how to reach the registry.
        registers: whether to register schemas that their subjects do not hold.

    Raises:
        UsageError: the extra `registry` is not installed, or the TLS files are unusable.
    """
    return KnownSchemas(RegistryClient(connection), registers=registers)
