"""Publishes what is new in polled rows. A row counts as published only once the send buffer has taken it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from backpack_streams.bus.codec import Codec, Encoder
from backpack_streams.bus.topics import topic
from backpack_streams.errors import CodecError
from backpack_streams.exchange.rest_decoding import BadRow, ReadRow
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.publishing import reports
from backpack_streams.publishing.sources import REST
from backpack_streams.rest_poller.catalogue import Endpoint, Publish
from backpack_streams.rest_poller.changes import Dated, History, Reference, settled, told_apart_by
from backpack_streams.rest_poller.row_reader import RowReader

Send = Callable[[str, bytes, bytes | None, int], bool]
"""Hands over a record: topic, key, value (None deletes), timestamp (ms since the Unix epoch). Returns False if the send buffer is full."""
DeadLetter = Callable[[Endpoint, bytes, str, int, str], None]
"""Reports a row that does not become a record: endpoint, the row as sent, explanation, received time (µs since the Unix epoch), reason."""
Letter = tuple[bytes, str, str]
"""The row as sent, the explanation, the reason."""


class PolledRow(NamedTuple):
    """One row of an answer.

    Attributes:
        fields: the record fields in it.
        raw: the row as sent.
    """

    fields: dict[str, Any]
    raw: str


@dataclass(frozen=True, slots=True)
class Polled:
    """The complete answer of an endpoint for one subject, all pages merged.

    Attributes:
        subject: the symbol, empty if the request covers all.
        rows: the readable rows.
        bad_rows: the unreadable rows.
        received_us: when the oldest page was received (µs since the Unix epoch).
        age_seconds: the age of the exchange's cache, None if it reports none.
        is_complete: whether nothing is missing.
        kinds: the kinds that the answer covers, if the exchange refused others; None for all.
    """

    subject: str
    rows: Sequence[PolledRow]
    bad_rows: Sequence[BadRow]
    received_us: int
    age_seconds: int | None
    is_complete: bool = True
    kinds: frozenset[str] | None = None

    @property
    def as_of_us(self) -> int:
        """When the exchange made the answer (µs since the Unix epoch): the received time less the age of the cache."""
        return self.received_us - (self.age_seconds or 0) * 1_000_000


def as_of_us(record: Mapping[str, Any] | None, timestamp_ms: int) -> int:
    """Return when the exchange made the answer behind a record of a compacted topic (µs since the Unix epoch). For a
    deletion only the receipt is known.

    Args:
        record: the record, None for a deletion.
        timestamp_ms: its Kafka timestamp (ms since the Unix epoch).
    """
    if record is None:
        return timestamp_ms * 1000
    return int(record.get("received_time") or 0) - (record.get("cache_age_seconds") or 0) * 1_000_000


def row_reader(endpoint: Endpoint, codec: Codec) -> ReadRow[PolledRow]:
    """Return a function that reads rows of an endpoint as its record.

    The function raises `UnreadableMessageError`, also for a row of a history without its time.

    Args:
        endpoint: the endpoint.
        codec: the source of the record's schema.
    """
    read = RowReader(codec.schema(endpoint.record).document, tuple(endpoint.given_for("")))
    dated_by = endpoint.time_field if endpoint.publish is Publish.ONCE_SETTLED else None

    def read_row(raw: bytes) -> tuple[PolledRow, Iterable[str]]:
        fields, unknown = read(raw)
        if dated_by is not None and fields[dated_by] is None:
            raise UnreadableMessageError("a row of a history without its time")
        return PolledRow(fields, raw.decode()), unknown

    return read_row


class Publication:
    """Publishes what is new in the answers of all endpoints."""

    def __init__(
        self,
        codec: Codec,
        prefix: str,
        endpoints: Iterable[Endpoint],
        send: Send,
        dead_letter: DeadLetter,
        is_ours: Callable[[str], bool],
        selects: Callable[[str], bool],
    ) -> None:
        """Prepare.

        Args:
            codec: encodes the records.
            prefix: the topic prefix.
            endpoints: the polled endpoints.
            send: hands over a record.
            dead_letter: reports a row that does not become a record.
            is_ours: whether a key belongs to this shard.
            selects: whether a market belongs to this shard and is selected.
        """
        self._send = send
        self._dead_letter = dead_letter
        self._is_ours = is_ours
        self._selects = selects
        self._encoders: dict[str, Encoder] = {}
        self._fields: dict[str, frozenset[str]] = {}
        self._bad_rows: dict[tuple[str, str, str], frozenset[bytes]] = {}
        self.references: dict[str, Reference] = {}
        self.histories: dict[str, History] = {}
        for each in endpoints:
            self._encoders[each.topic] = _encoder(codec, each, prefix)
            self._fields[each.topic] = frozenset(
                field["name"] for field in codec.schema(each.record).document["fields"]
            )
            if each.publish is Publish.CHANGES:
                self.references[each.topic] = Reference()
            elif each.publish is Publish.ONCE_SETTLED:
                self.histories[each.topic] = History()

    def publish(self, endpoint: Endpoint, polled: Polled, kept: Collection[str] = ()) -> None:
        """Publish what is new in an answer. A row that does not fit becomes a dead letter, once as long as it stays the
        same.

        Args:
            endpoint: the endpoint.
            polled: its answer.
            kept: keys of a compacted topic to keep even if the answer lacks them.
        """
        letters = [(bad.raw, bad.reason, reports.UNPARSABLE) for bad in polled.bad_rows]
        if endpoint.publish is Publish.CHANGES:
            letters += self._publish_changes(endpoint, polled, kept)
        elif endpoint.publish is Publish.ONCE_SETTLED:
            letters += self._publish_history(endpoint, polled)
        else:
            letters += self._publish_rows(endpoint, polled)
        self._send_letters(endpoint, polled, letters)

    def recalls(self, endpoint: Endpoint, key: str, record: Mapping[str, Any] | None, timestamp_ms: int) -> str:
        """Take a record found in a topic. Returns the series of a settled row of a history, otherwise an empty string.

        Args:
            endpoint: the endpoint of the topic.
            key: the Kafka key.
            record: the record, None for a deletion.
            timestamp_ms: its Kafka timestamp (ms since the Unix epoch).
        """
        if endpoint.publish is Publish.CHANGES:
            raw = None if record is None else record.get("raw", "")
            if self._is_ours(key):
                told = None if raw is None else told_apart_by(raw, endpoint.moving)
                self.references[endpoint.topic].recalls(key, told, as_of_us(record, timestamp_ms))
        elif endpoint.publish is Publish.ONCE_SETTLED and record is not None and record.get("is_settled", True):
            series = "/".join([endpoint.key(record), *(str(record[name]) for name, _ in endpoint.given)])
            self.histories[endpoint.topic].said(series, record[endpoint.time_field])
            return series
        return ""

    def _publish_changes(self, endpoint: Endpoint, polled: Polled, kept: Collection[str]) -> list[Letter]:
        reference = self.references[endpoint.topic]
        rows = {key: row for key, row in self._keyed(endpoint, polled) if self._is_ours(key)}
        said = {key: told_apart_by(row.raw, endpoint.moving) for key, row in rows.items()}
        # The whole answer counts: the last row of this shard may have gone while other shards still have some.
        is_complete = polled.is_complete and bool(polled.rows) and not polled.bad_rows
        changed, gone = reference.changes(said, polled.as_of_us, polled.received_us, is_complete)
        letters = []
        for key in changed:
            taken, letter = self._publish_row(endpoint, polled, key, rows[key], {})
            if taken:
                reference.holds(key, said[key])
            letters += letter
        for key in gone:
            if key not in kept and self._send(endpoint.topic, key.encode(), None, polled.received_us // 1000):
                reference.holds(key, None)
        return letters

    def _publish_rows(self, endpoint: Endpoint, polled: Polled) -> list[Letter]:
        letters = []
        for key, row in self._wanted(endpoint, polled):
            _, letter = self._publish_row(endpoint, polled, key, row, {})
            letters += letter
        return letters

    def _publish_history(self, endpoint: Endpoint, polled: Polled) -> list[Letter]:
        history = self.histories[endpoint.topic]
        has_open_rows = "is_settled" in self._fields[endpoint.topic]
        letters: list[Letter] = []
        stopped: set[str] = set()
        for row in history.news(self._dated(endpoint, polled)):
            if row.series in stopped or not (row.is_settled or has_open_rows):
                continue
            also = {"is_settled": row.is_settled} if has_open_rows else {}
            taken, letter = self._publish_row(endpoint, polled, endpoint.key(row.row.fields), row.row, also)
            letters += letter
            if not taken and not letter:
                stopped.add(row.series)  # rows may not be skipped: the next poll continues here
            elif row.is_settled:
                history.said(row.series, row.time_us)
        return letters

    def _dated(self, endpoint: Endpoint, polled: Polled) -> list[Dated]:
        by_series: dict[str, list[tuple[int, PolledRow]]] = {}
        for key, row in self._wanted(endpoint, polled):
            by_series.setdefault(endpoint.series(key), []).append((row.fields[endpoint.time_field], row))
        dated = []
        for series, rows in by_series.items():
            is_settled = settled((time for time, _ in rows), polled.as_of_us, endpoint.newest_settles_after_us)
            dated += [Dated(series, time, is_settled[time], row) for time, row in rows]
        return dated

    def _keyed(self, endpoint: Endpoint, polled: Polled) -> Iterable[tuple[str, PolledRow]]:
        given = endpoint.given_for(polled.subject)
        for row in polled.rows:
            row.fields.update(given)
            yield endpoint.key(row.fields), row

    def _wanted(self, endpoint: Endpoint, polled: Polled) -> Iterable[tuple[str, PolledRow]]:
        chosen = self._selects if endpoint.by_market else self._is_ours
        return ((key, row) for key, row in self._keyed(endpoint, polled) if chosen(key))

    def _publish_row(
        self, endpoint: Endpoint, polled: Polled, key: str, row: PolledRow, also: Mapping[str, Any]
    ) -> tuple[bool, list[Letter]]:
        """Publish a row. Returns whether the send buffer took it, and the row with the reason if it does not fit its record."""
        event_us = row.fields.get("event_time")
        filled_in = {
            "source": REST,
            "event_time": event_us,
            "engine_time": None,
            "received_time": polled.received_us,
            "cache_age_seconds": polled.age_seconds,
            "raw": row.raw,
        }
        known = self._fields[endpoint.topic]
        record = {name: value for name, value in filled_in.items() if name in known} | row.fields | dict(also)
        try:
            value = self._encoders[endpoint.topic](record)
        except CodecError as error:
            return False, [(row.raw.encode("utf-8", "replace"), str(error), reports.VALUE_DOES_NOT_FIT)]
        timestamp_ms = (polled.received_us if event_us is None else event_us) // 1000
        return self._send(endpoint.topic, key.encode("utf-8", "replace"), value, timestamp_ms), []

    def _send_letters(self, endpoint: Endpoint, polled: Polled, letters: list[Letter]) -> None:
        place = (endpoint.name, endpoint.topic, polled.subject)
        before = self._bad_rows.get(place, frozenset())
        for raw, detail, reason in letters:
            if raw not in before:
                self._dead_letter(endpoint, raw, detail, polled.received_us, reason)
        self._bad_rows[place] = frozenset(raw for raw, _, _ in letters)


def _encoder(codec: Codec, endpoint: Endpoint, prefix: str) -> Encoder:
    record = topic(endpoint.topic).record
    encode, convert = codec.encoder(record, prefix + endpoint.topic), codec.rows(record)
    return lambda row: encode(convert(row))
