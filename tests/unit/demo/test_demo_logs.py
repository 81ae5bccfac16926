import pytest

from backpack_streams.demo.last_words import last_words, latest_trouble

FAILED = "07:48:19.059 ERROR   runtime.service: service failed service=rest-poller reason='Kafka refused'"
CRASHED = """\
07:48:19.059 ERROR   runtime.service: service failed unexpectedly service=rest-poller
Traceback (most recent call last):
  File "service.py", line 61, in run_service
    runner.run(host.run())
ValueError: 3 is not a price
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (f"{FAILED}\n07:48:19.390 ERROR   asyncio: Unclosed AIOKafkaProducer\n", FAILED),
        ("ready\nbackpack-streams sandbox: there is no recording\n", "backpack-streams sandbox: there is no recording"),
        (CRASHED, "ValueError: 3 is not a price"),
        ('{"level": "error", "event": "flow failed"}\n{"level": "info", "event": "bye"}', '{"level": "error", "event": "flow failed"}'),
        ("one\n\ntwo\n\n", "two"),
        ("", "it wrote nothing to its log"),
    ],
    ids=["its own account", "command line", "traceback", "json", "last line", "nothing"],
)  # fmt: skip
def test_the_most_informative_line_is_found(log: str, expected: str) -> None:
    assert last_words(log) == expected


def test_a_long_line_is_shortened() -> None:
    line = last_words("x" * 1000)
    assert len(line) == 300
    assert line.endswith("...")


def test_trouble_is_the_last_warning_or_error() -> None:
    log = "07:00:00.000 WARNING feed.producer: no markets\n07:00:01.000 INFO    feed.producer: trying\n"
    assert latest_trouble(log) == "07:00:00.000 WARNING feed.producer: no markets"
    assert latest_trouble("07:00:01.000 INFO    feed.producer: trying\n") == ""
