"""What is requested from a schema registry, how often, and what an outage does: a registry in memory, no sockets."""

import asyncio
import logging
from typing import Any

import pytest

from backpack_streams.bus import registry as module
from backpack_streams.bus.codec import Codec, UnknownSchemaError
from backpack_streams.bus.governance import CREATED, NEW_VERSION, UNCHANGED, check, register, subjects
from backpack_streams.bus.registry import KnownSchemas
from backpack_streams.bus.registry_client import (
    FULL_TRANSITIVE,
    NotRegisteredError,
    RegistryAwayError,
    RegistryConnection,
    RegistryError,
    RegistryForbidsError,
    Version,
)
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import TOPICS
from backpack_streams.errors import CodecError

TRADE = own_schemas()["Trade"]
TOPIC = "backpack.market.trade"
SUBJECT = f"{TOPIC}-value"


class FakeRegistry:
    """Keeps everything in memory and notes each request; the next `away` requests get no answer."""

    def __init__(self) -> None:
        self.versions_of: dict[str, list[Version]] = {}
        self.levels: dict[str, str] = {}
        self.asked: list[str] = []
        self.away = 0
        self.default_level: str | None = "BACKWARD"
        self.forbids_levels = False

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            self.away -= 1
            raise RegistryAwayError("the registry is away")

    def lookup(self, subject: str, text: str) -> Version:
        self._ask("lookup")
        for version in self.versions_of.get(subject, ()):
            if version.text == text:
                return version
        raise NotRegisteredError(f"no such schema under {subject}")

    def text(self, schema_id: int) -> str:
        self._ask("text")
        for versions in self.versions_of.values():
            for version in versions:
                if version.schema_id == schema_id:
                    return version.text
        raise NotRegisteredError(f"no schema {schema_id}")

    def versions(self, subject: str) -> list[Version]:
        self._ask("versions")
        return self.versions_of.get(subject, [])

    def compatibility(self, subject: str) -> str | None:
        self._ask("compatibility")
        return self.levels.get(subject)

    def default_compatibility(self) -> str | None:
        self._ask("default compatibility")
        return self.default_level

    def set_compatibility(self, subject: str, level: str) -> None:
        self._ask("set compatibility")
        if self.forbids_levels:
            raise RegistryForbidsError("the registry forbids a new compatibility: give it the right")
        self.levels[subject] = level

    def is_compatible(self, subject: str, text: str) -> bool:
        self._ask("is compatible")
        return True

    def register(self, subject: str, text: str) -> None:
        self._ask("register")
        held = self.versions_of.setdefault(subject, [])
        held.append(Version(len(held) + 1, 100 + sum(map(len, self.versions_of.values())), text))


@pytest.fixture
def fake() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_RETRY_SECONDS", 1e-9)
    monkeypatch.setattr(module, "_LONGEST_RETRY_SECONDS", 1e-9)


def row() -> dict[str, Any]:
    given = {"symbol": "SOL_USDC", "source": "WEBSOCKET", "received_time": 3, "trade_id": 4, "is_buyer_maker": True}
    empty = {field["name"]: None for field in TRADE.document["fields"]}
    return dict(Codec().rows("Trade")(empty | given | {"price": "1.5", "quantity": "2"}))


# ---- writers


async def test_a_writer_looks_up_each_subject_once_and_never_again(fake: FakeRegistry) -> None:
    register(fake, SUBJECT, TRADE)
    fake.asked.clear()
    codec = Codec(KnownSchemas(fake))
    for _ in range(3):
        await codec.prepare({TOPIC: "Trade"})
    fake.away = 1_000_000
    value = codec.encoder("Trade", TOPIC)(row())
    assert value[:5] == b"\0" + fake.versions_of[SUBJECT][0].schema_id.to_bytes(4, "big")
    assert codec.decode(value)[0] == "Trade"
    assert fake.asked == ["lookup"]


async def test_a_writer_waits_for_an_unavailable_registry_and_says_so(
    fake: FakeRegistry, no_waiting: None, caplog: pytest.LogCaptureFixture
) -> None:
    register(fake, SUBJECT, TRADE)
    fake.away = 3
    with caplog.at_level(logging.WARNING):
        await Codec(KnownSchemas(fake)).prepare({TOPIC: "Trade"})
    assert [record.message for record in caplog.records] == ["waiting for the schema registry"] * 3


async def test_an_unregistered_schema_is_an_error_that_names_the_command(fake: FakeRegistry) -> None:
    with pytest.raises(NotRegisteredError, match=r"Trade is not registered; run `backpack-streams schemas register`"):
        await Codec(KnownSchemas(fake)).prepare({TOPIC: "Trade"})
    assert fake.versions_of == {}


async def test_a_writer_with_permission_registers_missing_schemas(fake: FakeRegistry) -> None:
    await Codec(KnownSchemas(fake, registers=True)).prepare({TOPIC: "Trade"})
    assert fake.versions_of[SUBJECT][0].text == TRADE.canonical_text
    assert fake.levels == {SUBJECT: FULL_TRANSITIVE}


def test_writing_to_an_unprepared_topic_is_an_error(fake: FakeRegistry) -> None:
    encode = Codec(KnownSchemas(fake)).encoder("Trade", TOPIC)
    with pytest.raises(RegistryError, match=SUBJECT):
        encode(row())


# ---- readers


async def test_a_reader_looks_up_an_id_once_and_reads_on_without_the_registry(fake: FakeRegistry) -> None:
    register(fake, SUBJECT, TRADE)
    writer = Codec(KnownSchemas(fake))
    await writer.prepare({TOPIC: "Trade"})
    value = writer.encoder("Trade", TOPIC)(row())
    fake.asked.clear()
    reader = Codec(KnownSchemas(fake))
    await reader.meet([None, b"", value, value, Codec().encoder("Trade", TOPIC)(row())])
    assert reader.decode(value) == ("Trade", row())
    fake.away = 1_000_000
    await reader.meet([value])
    assert reader.decode(value)[0] == "Trade"
    assert fake.asked == ["text"]


async def test_a_reader_retries_an_unknown_id_and_then_gives_up_for_a_while(
    fake: FakeRegistry, no_waiting: None
) -> None:
    register(fake, SUBJECT, TRADE)
    schema_id = fake.versions_of[SUBJECT][0].schema_id
    value = b"\0" + schema_id.to_bytes(4, "big") + Codec().encoder("Trade", TOPIC)(row())[10:]
    fake.away = 1_000_000
    fake.asked.clear()
    now = 1000.0
    codec = Codec(
        KnownSchemas(fake, clock=lambda: now + 0.9 * len(fake.asked))
    )  # a request without an answer takes 0.9 s
    await codec.meet([value])
    assert len(fake.asked) == 6  # 5 s of patience
    with pytest.raises(UnknownSchemaError, match=f"schema id {schema_id} is unknown: the registry is away"):
        codec.decode(value)
    asked = len(fake.asked)
    await codec.meet([value])
    assert len(fake.asked) == asked  # too soon

    fake.away = 0
    now += 60
    await codec.meet([value])
    assert codec.decode(value)[0] == "Trade"


async def test_an_id_unknown_to_the_registry_is_requested_once_and_named(fake: FakeRegistry) -> None:
    codec = Codec(KnownSchemas(fake))
    value = b"\0\0\0\0\x63rest"
    await codec.meet([value, value])
    await codec.meet([value])
    assert fake.asked == ["text"]
    with pytest.raises(UnknownSchemaError, match="schema id 99 is unknown: no schema 99"):
        codec.decode(value)


async def test_the_registry_is_called_off_the_event_loop(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    register(fake, SUBJECT, TRADE)
    seen: list[object] = []

    def lookup(subject: str, text: str) -> Version:
        try:
            seen.append(asyncio.current_task())
        except RuntimeError:  # no event loop runs in this thread
            seen.append(None)
        return FakeRegistry.lookup(fake, subject, text)

    monkeypatch.setattr(fake, "lookup", lookup)
    await Codec(KnownSchemas(fake)).prepare({TOPIC: "Trade"})
    assert seen == [None]


# ---- governance


def test_without_permission_to_set_the_compatibility_a_schema_is_registered_only_if_it_is_right(
    fake: FakeRegistry,
) -> None:
    fake.forbids_levels = True
    with pytest.raises(RegistryForbidsError, match=r"WriteCompatibility.*it is BACKWARD now"):
        register(fake, SUBJECT, TRADE)
    assert fake.versions_of == {}
    fake.default_level = FULL_TRANSITIVE
    assert register(fake, SUBJECT, TRADE).compatibility_before == FULL_TRANSITIVE
    assert [version.text for version in fake.versions_of[SUBJECT]] == [TRADE.canonical_text]
    assert check(fake, SUBJECT, TRADE).compatibility_before == FULL_TRANSITIVE
    fake.levels[SUBJECT] = "NONE"
    with pytest.raises(RegistryForbidsError, match="it is NONE now"):
        register(fake, SUBJECT, TRADE)


def test_compatibility_is_set_before_the_first_version(fake: FakeRegistry) -> None:
    outcome = register(fake, SUBJECT, TRADE)
    assert outcome.action == CREATED
    assert fake.asked.index("set compatibility") < fake.asked.index("register")
    assert register(fake, SUBJECT, TRADE).action == UNCHANGED


def test_checking_writes_nothing(fake: FakeRegistry) -> None:
    assert check(fake, SUBJECT, TRADE).action == CREATED
    fake.versions_of[SUBJECT] = [Version(1, 9, TRADE.canonical_text.replace("One public trade.", "A trade."))]
    assert check(fake, SUBJECT, TRADE).action == NEW_VERSION
    assert not {"register", "set compatibility"} & set(fake.asked)


def test_every_topic_has_a_subject() -> None:
    assert len(subjects("x.")) == len(TOPICS)
    assert subjects("x.")["x.market.trade-value"] == "Trade"


# ---- the connection


def test_credentials_appear_in_no_message() -> None:
    connection = RegistryConnection("https://user:hidden@registry:8081", password="hidden too", key_password="hidden")
    assert "hidden" not in repr(connection)
    assert "hidden" not in connection.shown


def test_login_and_tls_reach_the_client() -> None:
    options = RegistryConnection("http://a:1,http://b:2", username="user", password="word").client_options()
    assert options["url"] == "http://a:1,http://b:2"
    assert options["basic.auth.user.info"] == "user:word"
    assert options["max.retries"] == 0


def test_errors_of_the_registry_are_codec_errors() -> None:
    assert issubclass(RegistryError, CodecError)


async def test_the_state_of_the_last_request_is_known(fake: FakeRegistry, no_waiting: None) -> None:
    known = KnownSchemas(fake, registers=True)
    assert (known.is_up, known.failures) == (None, 0)
    fake.away = 3
    await known.fetch_ids({SUBJECT: TRADE})
    assert (known.is_up, known.failures) == (True, 3)
    fake.away = 1_000_000
    await known.fetch_texts([4711])
    assert known.is_up is False
    failures = known.failures
    assert failures > 3
    fake.away = 0
    with pytest.raises(NotRegisteredError):
        await KnownSchemas(fake).fetch_ids({"other-value": TRADE})
    refusing = KnownSchemas(fake)
    await refusing.fetch_texts([4711])
    assert (refusing.is_up, refusing.failures) == (True, 0), "that it has no such schema is an answer"


async def test_the_number_of_remembered_unknown_ids_is_bounded(fake: FakeRegistry) -> None:
    known = KnownSchemas(fake)
    for first in range(0, 3 * module.MOST_UNKNOWN, 500):
        await known.fetch_texts(range(first, first + 500))
    assert len(known._unknown) == module.MOST_UNKNOWN
    assert known.why_unknown(3 * module.MOST_UNKNOWN - 1) != known.why_unknown(0) == "the schema registry was not asked"
