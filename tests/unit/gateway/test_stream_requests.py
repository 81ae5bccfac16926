"""Requests of a stream: what a client may send, and the error it gets for anything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.gateway.errors import BadRequestError
from backpack_streams.gateway.parameters import parse
from backpack_streams.gateway.stream.requests import (
    EVENT_PARAMETERS,
    MAX_POSITIONS_IN_ID,
    parse_resume,
    read_request,
    request_of_url,
    resume_text,
)

INTERVALS = ("1m", "1h")
WHOLE = {"op": "subscribe", "channels": ["book"], "symbols": ["SOL_USDC"]}


def test_a_complete_request_is_read() -> None:
    text = """{"op":"subscribe","id":1,"channels":["book","trades","ticker","klines.1m","mark_price","liquidations"],
        "symbols":["SOL_USDC","AAPL.US_USDC_PERP"],"depth":50,"decimals":"string","key":"bps_x",
        "resume":{"book.SOL_USDC":123456,"klines.1m.AAPL.US_USDC_PERP":7}}"""
    request = read_request(text, INTERVALS)
    assert request.resume == {"book.SOL_USDC": 123456, "klines.1m.AAPL.US_USDC_PERP": 7}
    assert (request.depth, request.decimals, request.key) == (50, "string", "bps_x")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"op": "sub"}, "op"),
        ({"channels": []}, "channels"),
        ({"channels": "book"}, "channels"),
        ({"channels": ["bok"]}, "did you mean 'book'"),
        ({"channels": ["klines.2m"]}, "did you mean 'klines.1m'"),
        ({"channels": ["zzzzzz"]}, "there are book, trades"),
        ({"symbols": []}, "symbols"),
        ({"symbols": "SOL_USDC"}, "symbols"),
        ({"symbols": ["A"] * 1001}, "symbols"),
        ({"symbols": ["A" * 65]}, "symbols"),
        ({"depth": 0}, "depth"),
        ({"depth": 21}, "depth"),
        ({"depth": "20"}, "depth"),
        ({"depth": 20.5}, "depth"),
        ({"decimals": "float"}, "decimals"),
        ({"resume": {"book.SOL_USDC": "1"}}, "resume"),
        ({"resume": {"book.BTC_USDC": 1}}, "resume names 'book.BTC_USDC'"),
        ({"resume": {"trades.SOL_USDC": 1}}, "resume names"),
        ({"id": [1]}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"key": "x" * 201}, "key"),
        ({"depht": 5}, "depht"),
    ],
)
def test_an_invalid_field_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequestError, match=told):
        read_request(json.dumps(WHOLE | change), INTERVALS)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "7", '"subscribe"', "\ud800", "{}", "[" * 60_000])
def test_anything_but_a_request_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadRequestError, match="send such as"):
        read_request(text, INTERVALS)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_message_is_a_request_or_refused(text: str | bytes) -> None:
    with pytest.raises(BadRequestError):
        read_request(text, INTERVALS)


names = st.tuples(st.sampled_from(["book", "trades", "klines.1m"]), st.sampled_from(["SOL_USDC", "AAPL.US_USDC_PERP"]))


@given(st.dictionaries(names, st.integers(0, 10**18 - 1), max_size=6))
def test_an_event_id_lets_a_client_resume(positions: dict[tuple[str, str], int]) -> None:
    expected = {f"{channel}.{symbol}": sequence for (channel, symbol), sequence in positions.items()}
    text = resume_text(positions)
    assert text is not None
    assert parse_resume(text) == expected
    parameters = parse(b"channels=book,trades,klines.1m&symbols=SOL_USDC,AAPL.US_USDC_PERP", EVENT_PARAMETERS)
    assert request_of_url(parameters, text, INTERVALS).resume == expected


@given(st.text(max_size=100))
def test_any_event_id_is_accepted(text: str) -> None:
    parameters = parse(b"channels=book&symbols=all", EVENT_PARAMETERS)
    assert request_of_url(parameters, text, INTERVALS).symbols == "all"


def test_too_many_positions_give_no_event_id() -> None:
    positions = {("book", str(number)): number for number in range(MAX_POSITIONS_IN_ID + 1)}
    assert resume_text(positions) is None


@pytest.mark.parametrize("query", [b"channels=bok&symbols=all", b"channels=klines.7m&symbols=all"])
def test_a_url_with_an_unknown_channel_is_refused(query: bytes) -> None:
    with pytest.raises(BadRequestError, match="there is no channel"):
        request_of_url(parse(query, EVENT_PARAMETERS), "", INTERVALS)
