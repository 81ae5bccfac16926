"""What is answered to a request, without a socket."""

import json
from http import HTTPStatus

import pytest

from backpack_streams.runtime.http import HealthAnswers, Response


def answers(failures: list[str] | None = None, readiness: list[str] | None = None) -> HealthAnswers:
    return HealthAnswers(
        lambda: failures or [], lambda: readiness or [], lambda accept: (b"metric 1\n", f"text/plain; for={accept}")
    )


def test_a_ready_service() -> None:
    assert answers().answer("GET", "/healthz").status is HTTPStatus.OK
    ready = answers().answer("GET", "/readyz")
    assert ready.status is HTTPStatus.OK
    assert json.loads(ready.body) == {"status": "ready", "reasons": []}


def test_a_service_that_is_not_ready_lives_and_says_why() -> None:
    waiting = answers(readiness=["Kafka is slow"])
    assert waiting.answer("GET", "/healthz").status is HTTPStatus.OK
    response = waiting.answer("GET", "/readyz")
    assert response.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(response.body) == {"status": "not ready", "reasons": ["Kafka is slow"]}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_failed_service_is_neither(path: str) -> None:
    response = answers(failures=["it broke"]).answer("GET", path)
    assert response.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(response.body)["reasons"] == ["it broke"]


def test_metrics_follow_the_accept_header() -> None:
    response = answers().answer("GET", "/metrics", "x")
    assert (response.body, response.content_type) == (b"metric 1\n", "text/plain; for=x")


def test_other_methods_and_paths() -> None:
    assert answers().answer("POST", "/metrics").status is HTTPStatus.METHOD_NOT_ALLOWED
    assert ("Allow", "GET, HEAD") in answers().answer("POST", "/metrics").headers
    assert answers().answer("GET", "/").status is HTTPStatus.NOT_FOUND


def test_head_has_the_length_and_no_body() -> None:
    response = Response(HTTPStatus.OK, b"body")
    head = response.encode(with_body=False)
    assert response.encode(with_body=True) == head + b"body"
    assert b"Content-Length: 4\r\n" in head
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
