"""Records of prediction markets, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "REFERENCE_PREDICTION_EVENT",
    "REFERENCE_PREDICTION_TAG",
    "EventSeries",
    "EventTag",
    "PredictionEvent",
    "PredictionMarket",
    "PredictionTag",
]


class PredictionMarket(TypedDict):
    """One question of a prediction event, with the market on its answer."""

    market_symbol: str
    question: str | None
    group_label: str | None
    yes_outcome_label: str | None
    no_outcome_label: str | None
    rules: str | None
    resolved_time: int | None
    resolution_price: Decimal | None
    active_price: Decimal | None
    quote_volume: Decimal | None
    quote_volume_lifetime: Decimal | None
    image_url: str | None
    resolution_condition_kind: str | None
    resolution_greater_than_or_equal: Decimal | None
    resolution_less_than: Decimal | None
    resolution_strike_condition: str | None
    resolution_outcome: str | None
    proposed_resolution: bool | None
    proposed_resolution_time: int | None
    resolution_delay_seconds: int | None


class EventTag(TypedDict):
    """A tag of an event."""

    slug: str
    title: str | None


class EventSeries(TypedDict):
    """A series of events."""

    slug: str
    title: str | None
    recurrence: str | None


class PredictionEvent(TypedDict):
    """An event that prediction markets are about."""

    slug: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    title: str | None
    description: str | None
    image_url: str | None
    quote_volume: Decimal | None
    is_resolved: bool | None
    resolution_is_resolved: bool | None
    resolution_start_time: int | None
    resolution_end_time: int | None
    resolution_strike_price: Decimal | None
    resolution_close_price: Decimal | None
    resolution_source: str | None
    resolution_source_event: str | None
    resolution_outcome: str | None
    resolution_delay_seconds: int | None
    markets: list[PredictionMarket]
    tags: list[EventTag]
    series: list[EventSeries]
    raw: str
    cache_age_seconds: int | None


class PredictionTag(TypedDict):
    """A tag that prediction events carry."""

    slug: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    title: str | None
    raw: str
    cache_age_seconds: int | None


REFERENCE_PREDICTION_EVENT: Final = RecordTopic[PredictionEvent | None]("reference.prediction_event")
REFERENCE_PREDICTION_TAG: Final = RecordTopic[PredictionTag | None]("reference.prediction_tag")
