"""Times as a user writes them: ISO 8601, UTC if they name no zone."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

__all__ = ["Instant", "KafkaInstant", "parse_instant", "parse_kafka_instant"]


def parse_instant(text: object) -> datetime:
    """Parse a time as a user writes it: ISO 8601, UTC if it names no zone.

    Raises:
        ValueError: it is not such a time.
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{str(text)[:60]!r} is no time; write 2026-11-22 or 2026-11-22T10:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def parse_kafka_instant(text: object) -> datetime:
    """Parse a time of at most a millisecond's precision, which is that of Kafka's timestamps.

    Raises:
        ValueError: it is not such a time.
    """
    moment = parse_instant(text)
    if moment.microsecond % 1000:
        raise ValueError(f"{str(text)[:60]!r} is finer than a millisecond, and Kafka's timestamps are not")
    return moment


Instant = Annotated[datetime, BeforeValidator(parse_instant)]
KafkaInstant = Annotated[datetime, BeforeValidator(parse_kafka_instant)]
