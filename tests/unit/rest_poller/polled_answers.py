"""Answers of endpoints as the poller gets them, and a bus that accepts what the test says."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from backpack_streams.bus.codec import Codec
from backpack_streams.exchange.rest_decoding import decode_rows
from backpack_streams.rest_poller.catalogue import Endpoint, Subject, endpoints
from backpack_streams.rest_poller.publication import Polled, Publication, row_reader
from backpack_streams.rest_poller.settings import RestPollerSettings

CODEC = Codec()
TABLE = endpoints(RestPollerSettings(bootstrap_servers=("nowhere:1",)))
NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000


def endpoint_of(topic: str) -> Endpoint:
    return next(each for each in TABLE if each.topic == topic)


def answer(
    endpoint: Endpoint, body: Any, subject: str = "", received_us: int = NOW_US, age_seconds: int | None = None
) -> Polled:
    rows = decode_rows(json.dumps(body).encode(), row_reader(endpoint, CODEC), endpoint.shape)
    subject = subject or ("SOL" if endpoint.subject is not Subject.ALL else "")
    return Polled(subject, rows.rows, rows.bad_rows, received_us, age_seconds)


class Sent(NamedTuple):
    topic: str
    key: str
    record: dict[str, Any] | None
    timestamp_ms: int


class Bus:
    """Accepts records while `takes` returns true."""

    def __init__(self, takes: Callable[[str], bool] = lambda _: True) -> None:
        self.takes = takes
        self.sent: list[Sent] = []
        self.letters: list[tuple[bytes, str]] = []

    def send(self, topic: str, key: bytes, value: bytes | None, timestamp_ms: int) -> bool:
        if not self.takes(key.decode()):
            return False
        record = None if value is None else CODEC.read(value)[1]
        self.sent.append(Sent(topic, key.decode(), record, timestamp_ms))
        return True

    def dead_letter(self, _: Endpoint, raw: bytes, __: str, ___: int, reason: str) -> None:
        self.letters.append((raw, reason))

    def keys(self) -> list[str]:
        """The keys of the records sent since the last call; deletions with a minus."""
        keys = [each.key if each.record is not None else f"-{each.key}" for each in self.sent]
        self.sent.clear()
        return keys

    def publication(
        self, is_ours: Callable[[str], bool] = lambda _: True, table: tuple[Endpoint, ...] = TABLE
    ) -> Publication:
        return Publication(CODEC, "t.", table, self.send, self.dead_letter, is_ours, is_ours)
