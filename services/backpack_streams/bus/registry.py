"""What is known of a schema registry: ids and schemas are asked for once, off the event loop, and kept for good.

An id never changes its meaning, so an outage of the registry stops nothing that is known. What is not known yet:

- a writer's ids are asked for before its first record. It waits for a registry that is away, and says so: records in the other
  framing would be unreadable to whoever reads by the registry.
- a reader that meets an unknown id asks for a few seconds. Then the record counts as unreadable; the next one with that id asks again.
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
"""So many ids that could not be had are remembered, the newest ones: foreign records may name any."""
ASK_AGAIN_SECONDS = 5.0
"""How long an id that could not be had stays unknown before it is asked for again."""
_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 15.0

Answer = TypeVar("Answer")


class _Unknown(NamedTuple):
    """Why an id is not known, and from when on (monotonic seconds) it is worth asking again."""

    reason: str
    ask_again_at: float


class KnownSchemas:
    """The codec's `SchemaRegistry`: answers from memory, which `fetch_ids` and `fetch_texts` fill.

    With `registers` a schema that its subject does not hold is registered, else that is an error.
    """

    def __init__(
        self, registry: Registry, *, registers: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._registers = registers
        self._clock = clock
        self._ids: dict[tuple[str, str], int] = {}
        self._texts: dict[int, str] = {}
        self._unknown: dict[int, _Unknown] = {}
        self.is_up: bool | None = None
        """Whether it answered when it was last asked; None before that."""
        self.failures = 0
        """Questions that it left unanswered, each try counted."""

    def schema_id(self, subject: str, schema: Schema) -> int:
        """The registry's id of `schema` under `subject`.

        Raises:
            RegistryError: it was not fetched.
        """
        try:
            return self._ids[subject, schema.canonical_text]
        except KeyError:
            raise RegistryError(f"the id of {schema.name} under {subject} was not fetched before its use") from None

    def schema_text(self, schema_id: int) -> str | None:
        """The JSON text behind an id, or None while it is not known."""
        return self._texts.get(schema_id)

    def why_unknown(self, schema_id: int) -> str:
        """What the registry said, or did not say, when it was asked for an id that is not known."""
        unknown = self._unknown.get(schema_id)
        return "the schema registry was not asked" if unknown is None else unknown.reason

    async def fetch_ids(self, wanted: Mapping[str, Schema]) -> None:
        """Gets the id of each schema under its subject; waits as long as it takes for a registry that is away.

        Raises:
            RegistryError: the registry does not hold a schema, or refuses it.
        """
        for subject, schema in wanted.items():
            key = subject, schema.canonical_text
            if key not in self._ids:
                schema_id = await self._patiently(partial(self._id_of, subject, schema), None)
                self._ids[key] = schema_id
                self._texts[schema_id] = schema.text

    async def fetch_texts(self, schema_ids: Iterable[int]) -> None:
        """Gets the schemas behind ids. Those that could not be fetched stay unknown; it raises nothing."""
        now = self._clock()
        for schema_id in schema_ids:
            unknown = self._unknown.get(schema_id)
            if schema_id in self._texts or (unknown is not None and now < unknown.ask_again_at):
                continue
            # Who waited for it once does not wait again: each wait holds up all other records.
            patience = READER_PATIENCE_SECONDS if unknown is None else 0.0
            try:
                self._texts[schema_id] = await self._patiently(partial(self._registry.text, schema_id), patience)
                self._unknown.pop(schema_id, None)
            except CodecError as error:
                self._unknown.pop(schema_id, None)
                self._unknown[schema_id] = _Unknown(str(error), self._clock() + ASK_AGAIN_SECONDS)
                if len(self._unknown) > MOST_UNKNOWN:
                    del self._unknown[next(iter(self._unknown))]
                logger.warning("schema id not known", extra={"schema_id": schema_id, "error": str(error)})

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
        """Asks in a thread, again and again while the registry is away; with a patience it gives up after that."""
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
        except CodecError:  # an answer as well, though not the one hoped for
            self.is_up = True
            raise
        self.is_up = True
        return answer


def known_schemas(connection: RegistryConnection, *, registers: bool = False) -> KnownSchemas:
    """For `Codec`: what the registry at `connection` knows.

    Raises:
        UsageError: the extra `registry` is not installed, or the TLS files cannot be used.
    """
    return KnownSchemas(RegistryClient(connection), registers=registers)
