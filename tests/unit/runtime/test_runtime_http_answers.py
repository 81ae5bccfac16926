"""Answers to requests, without a socket."""

import json

import pytest

from backpack_streams.runtime.health import HealthAnswers


def answers(failures: list[str] | None = None, readiness: list[str] | None = None) -> HealthAnswers:
    return HealthAnswers(
        lambda: failures or [], lambda: readiness or [], lambda accept: (b"metric 1\n", f"text/plain; for={accept}")
    )


def test_a_ready_service() -> None:
    assert answers().answer("GET", "/healthz").status_code == 200
    ready = answers().answer("GET", "/readyz")
    assert ready.status_code == 200
    assert json.loads(ready.body) == {"status": "ready", "reasons": []}


def test_a_service_that_is_not_ready_is_alive_and_gives_the_reason() -> None:
    waiting = answers(readiness=["Kafka is slow"])
    assert waiting.answer("GET", "/healthz").status_code == 200
    response = waiting.answer("GET", "/readyz")
    assert response.status_code == 503
    assert json.loads(response.body) == {"status": "not ready", "reasons": ["Kafka is slow"]}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_failed_service_is_neither_ready_nor_alive(path: str) -> None:
    response = answers(failures=["it broke"]).answer("GET", path)
    assert response.status_code == 503
    assert json.loads(response.body)["reasons"] == ["it broke"]


def test_metrics_follow_the_accept_header() -> None:
    response = answers().answer("GET", "/metrics", "x")
    assert (response.body, response.headers["content-type"]) == (b"metric 1\n", "text/plain; for=x")


def test_other_methods_and_paths() -> None:
    assert answers().answer("POST", "/metrics").status_code == 405
    assert answers().answer("POST", "/metrics").headers["allow"] == "GET, HEAD"
    assert answers().answer("GET", "/").status_code == 404
