"""The page that lists everything the exchange publishes, with topic and record, or why there is none; from the services' tables."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from backpack_streams.account_producer.service import STREAM_SPECS as ACCOUNT_STREAM_SPECS
from backpack_streams.bus.topics import topic
from backpack_streams.exchange.streams import DEPTH_WINDOWS, KLINE_INTERVALS, LIQUIDATION, StreamKind
from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET_STREAM_SPECS
from backpack_streams.markets.market_streams import STOCK_PRICE
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP_STREAM_SPECS
from backpack_streams.rest_poller.catalogue import ASKED_WHEN_NEEDED, LEFT_OUT, Endpoint, Publish, endpoints
from backpack_streams.rest_poller.settings import RestPollerSettings

CHANNELS_LEFT_OUT: Mapping[str, str] = {
    "subscriptionControl": "the requests to subscribe and unsubscribe: what is sent to the exchange, not what it publishes",
}
"""Channels of the exchange's AsyncAPI page that become no record, and why."""

_SERVICES = (
    ("market-producer", MARKET_STREAM_SPECS),
    ("perp-producer", PERP_STREAM_SPECS),
    ("account-producer", ACCOUNT_STREAM_SPECS),
)
_WHAT = {
    Publish.CHANGES: "what changed, what is new; what is gone is deleted",
    Publish.EVERY_ROW: "every row, each time",
    Publish.ONCE_SETTLED: "each row once, when it is settled",
}
_HEAD = """# What becomes of everything the exchange publishes

Every channel of its WebSocket and every public endpoint of its REST API: the topic (with the default prefix) and the record that it
becomes, or why it becomes none. This page is generated from the tables that the services run by: `make docs`.
"""


class Channel(NamedTuple):
    """A channel as the exchange's page writes it, with its topic, record and service."""

    name: str
    topic: str
    record: str
    service: str


def channels() -> list[Channel]:
    """Return every channel that a service carries."""
    return [
        Channel(name, spec.topic(kind), spec.record, service)
        for service, specs in _SERVICES
        for spec in specs
        for kind, name in _kinds(spec)
    ]


def _kinds(spec: StreamSpec) -> Iterator[tuple[StreamKind, str]]:
    channel = spec.channel
    if channel == "kline":
        yield StreamKind(channel, KLINE_INTERVALS[0]), "kline.{interval}.{symbol}"
        return
    if spec.all_markets_in_one:
        yield StreamKind(channel), channel
    subject = "ticker" if channel == STOCK_PRICE else "symbol"
    yield StreamKind(channel), f"{channel}.{{{subject}}}"
    for window in DEPTH_WINDOWS if channel == "depth" else ():
        yield StreamKind(channel, window), f"{channel}.{window}.{{symbol}}"


def coverage_page() -> str:
    """Return the page as Markdown."""
    table = endpoints(RestPollerSettings())
    asked = [
        (f"`GET {path}`", *_topic(name), "rest-poller", "", when) for path, (name, when) in ASKED_WHEN_NEEDED.items()
    ]
    return "\n".join(
        [
            _HEAD,
            "## WebSocket",
            "",
            *_table(("channel", "topic", "record", "service"), (_channel_row(each) for each in channels())),
            "",
            f"`{{interval}}` is one of {', '.join(f'`{each}`' for each in KLINE_INTERVALS)}. `{LIQUIDATION}` and the account's channels",
            "bring all markets in one stream; by symbol they are the same records.",
            "",
            *_table(("left out", "why"), ((f"`{name}`", why) for name, why in CHANNELS_LEFT_OUT.items())),
            "",
            "## REST",
            "",
            *_table(
                ("endpoint", "topic", "record", "service", "every", "what is published"),
                [*(_endpoint_row(each) for each in table), *asked],
            ),
            "",
            "The intervals are the defaults; each is a setting of rest-poller. Requests count against the general limit, those for",
            "funding rates, klines and older trades against the historical one as well.",
            "",
            *_table(("left out", "why"), ((f"`GET {path}`", why) for path, why in LEFT_OUT.items())),
            "",
            "Endpoints that need a key are an account's own and are not asked: what happens to the account comes from `account.*` streams.",
            "",
        ]
    )


def _channel_row(each: Channel) -> tuple[str, ...]:
    return f"`{each.name}`", *_topic(each.topic), each.service


def _endpoint_row(each: Endpoint) -> tuple[str, ...]:
    parameters = "".join(f" `{name}={value}`" for name, value in each.parameters)
    subject = "" if each.subject == "all" else f", for {each.subject}"
    where = "" if each.shape.array_in is None else f", its `{each.shape.array_in}`"
    asked = f"`GET {each.path}`{parameters}{where}{subject}"
    return asked, *_topic(each.topic), "rest-poller", f"{each.interval:g} s", _WHAT[each.publish]


def _topic(name: str) -> tuple[str, str]:
    record = topic(name).record
    return f"`backpack.{name}`", f"[{record}](../schemas/{record}.avsc)"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
