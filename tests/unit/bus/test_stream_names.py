"""Topics and the streams that fill them, as the producers have them."""

import pytest

from backpack_streams.account_producer.service import STREAM_SPECS as ACCOUNT
from backpack_streams.bus.stream_names import STREAMS_OF_TOPICS, symbol_of_stream
from backpack_streams.exchange.streams import KLINE_INTERVALS, StreamKind, parse_kind
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP


def test_every_stream_of_every_producer_has_its_topic() -> None:
    found: dict[str, set[str]] = {}
    for spec in (*MARKET, *PERP, *ACCOUNT):
        parameters = KLINE_INTERVALS if spec.channel == "kline" else spec.topics
        for parameter in parameters:
            kind = StreamKind(spec.channel, parameter)
            found.setdefault(spec.topic(kind), set()).add(str(kind))
    assert {topic: set(kinds) for topic, kinds in STREAMS_OF_TOPICS.items()} == found


@pytest.mark.parametrize("kinds", STREAMS_OF_TOPICS.values())
def test_a_stream_belongs_to_one_kind_and_contains_its_symbol(kinds: tuple[str, ...]) -> None:
    every = [kind for others in STREAMS_OF_TOPICS.values() for kind in others]
    for kind in kinds:
        for symbol in ("SOL_USDC", "AAPL.US_USDC_PERP", "1m", "kSHIB_USDC_PERP"):
            stream = parse_kind(kind).stream(symbol)
            assert [(each, found) for each in every if (found := symbol_of_stream(each, stream)) is not None] == [
                (kind, symbol)
            ]
        assert symbol_of_stream(kind, kind) == ""
