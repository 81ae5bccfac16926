"""REST errors: JSON and plain text become one kind of error that names the request and gives advice."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.errors import ExchangeError
from backpack_streams.exchange.rest_errors import RestRequest, error_from_answer

# Slow tests do not fail.
unhurried = hypothesis_settings(deadline=None)

REQUEST = RestRequest("GET", "/api/v1/depth", "BTC_USDC")


def test_a_json_error_gives_code_message_request_and_advice() -> None:
    body = b'{"code":"INVALID_CLIENT_REQUEST","message":"Invalid market symbol"}'
    error = error_from_answer(REQUEST, 400, body)
    assert isinstance(error, ExchangeError)
    assert (error.status, error.code, error.message) == (400, "INVALID_CLIENT_REQUEST", "Invalid market symbol")
    assert error.request == REQUEST
    assert not error.retryable
    assert str(error).startswith(
        "GET /api/v1/depth for BTC_USDC: 400 INVALID_CLIENT_REQUEST: Invalid market symbol; check the symbol"
    )


def test_a_plain_text_error_gives_its_text() -> None:
    error = error_from_answer(REQUEST, 400, b"failed to parse parameter `limit`: Expect one of 5, 10")
    assert (error.code, error.message) == (None, "failed to parse parameter `limit`: Expect one of 5, 10")


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (403, False), (404, False), (418, True), (429, True), (500, True), (503, True)],
)
def test_only_errors_not_caused_by_the_request_are_retryable(status: int, retryable: bool) -> None:
    error = error_from_answer(REQUEST, status, b"")
    assert error.retryable is retryable
    assert error.message == "no message"
    assert error.advice


def test_a_403_is_retryable_only_if_it_says_when() -> None:
    assert not error_from_answer(REQUEST, 403, b"").retryable
    assert error_from_answer(REQUEST, 403, b"", retry_after_seconds=120).retryable


@unhurried
@given(status=st.integers(400, 599), body=st.binary(max_size=3_000))
def test_for_any_body_the_message_is_one_short_printable_line(status: int, body: bytes) -> None:
    error = error_from_answer(REQUEST, status, body)
    assert 0 < len(error.message) <= 300
    assert str(error).isprintable()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"code":{"a":1},"message":[1]}', b'{"code":null}', b"17", b"null"])
def test_hostile_and_odd_bodies_raise_nothing(body: bytes) -> None:
    assert str(error_from_answer(REQUEST, 500, body)).isprintable()


def test_the_number_of_attempts_is_reported() -> None:
    error = error_from_answer(REQUEST, 503, b"down")
    error.attempts = 4
    assert "503: down (4 attempts); " in str(error)
