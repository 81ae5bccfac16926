from pathlib import Path

import pytest

from embedded_kafka.broker_log import explain_end, last_useful_line

PLENTY = 10 << 30
FRAMES = "\tat org.apache.kafka.Some.method(Some.java:1)\n\t... 12 more\n"


def explained(log_text: str, free_bytes: int = PLENTY) -> str:
    return explain_end(
        log_text,
        "Kafka broker 1 ended",
        data_folder=Path("/data"),
        log_path=Path("/logs/broker-1.log"),
        free_bytes=free_bytes,
    )


@pytest.mark.parametrize(
    ("log_text", "said"),
    [
        ("ERROR x - Error while appending records\njava.io.IOException: No space left on device\n" + FRAMES, "is full"),
        ("SIGBUS (0x7) at pc=0x00007f", "is full"),
        ("java.net.BindException: Socket server failed to bind to 127.0.0.1:19092: Address in use.", "port 19092 on"),
        ("java.net.BindException: Address already in use", "its port is in use"),
        (
            "KafkaException: Failed to acquire lock on file .lock in /data. A Kafka instance in another",
            "running broker",
        ),
        ("java.lang.UnsupportedClassVersionError: kafka/Kafka has been compiled by a more recent", "too old"),
        ("Terminating due to java.lang.OutOfMemoryError: Java heap space", "not enough memory"),
    ],
)
def test_known_ends_say_what_to_do(log_text: str, said: str) -> None:
    assert said in explained(log_text)
    assert "\n" not in explained(log_text)


def test_a_disk_with_no_room_is_full_even_if_the_log_had_no_room_to_say_so() -> None:
    assert "the disk under /data is full (0 MiB free)" in explained("", free_bytes=4096)


def test_an_unknown_end_quotes_the_last_error_and_names_the_log() -> None:
    text = "WARN a\nERROR first\nConfigException: Invalid value x for num.partitions\n" + FRAMES + "INFO closing\n"
    assert explained(text) == (
        "Kafka broker 1 ended: ConfigException: Invalid value x for num.partitions (log: /logs/broker-1.log)"
    )


def test_last_useful_line_without_any_error_is_the_last_line() -> None:
    assert last_useful_line("INFO one\nINFO two\n\n") == "INFO two"
    assert last_useful_line("") == "it wrote nothing to its log"


def test_a_long_line_is_cut() -> None:
    assert len(last_useful_line("ERROR " + "x" * 5000)) == 240
