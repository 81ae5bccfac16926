"""Precedence of flag, environment and file, and the one-line message of each mistake."""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from backpack_streams.errors import UsageError
from backpack_streams.runtime.settings import KafkaSettings, Settings, SymbolSettings
from backpack_streams.runtime.settings_sources import ReadSettings, add_setting_flags, read_settings


class ProbeSettings(SymbolSettings, KafkaSettings):
    depth: int | None = Field(default=None, ge=1, le=1000, description="levels, 100 % exact")
    ratio: float = Field(default=0.5, gt=0)
    speed: float | Literal["max"] = Field(default=1.0)
    verbose: bool = False
    json_output: bool = Field(default=False, json_schema_extra={"flag": "--json"})
    count: int | None = Field(default=None, ge=1, json_schema_extra={"short": "-n"})
    data_dir: Path | None = None
    names: list[str] = Field(default_factory=list)
    faults: list[str] = Field(default_factory=list, json_schema_extra={"flag": "--fault", "repeat": True})


class NeedySettings(Settings):
    data_dir: Path


def parser_of(model: type[Settings]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="probe", exit_on_error=False, allow_abbrev=False)
    add_setting_flags(parser, model, "market-producer")
    return parser


def read(*flags: str, environment: dict[str, str] | None = None, model: type[Any] = ProbeSettings) -> ReadSettings[Any]:
    return read_settings(
        model,
        "market-producer",
        parser_of(model).parse_args(flags),
        environment or {},
        commands=("market-producer", "rest-poller"),
        names_elsewhere=lambda: frozenset({"poll_seconds"}),
    )


def complaint(*flags: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read(*flags, **options)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    return message


def toml(tmp_path: Path, text: str) -> str:
    path = tmp_path / "settings.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_flag_wins_over_environment_over_table_over_top_over_default(tmp_path: Path) -> None:
    top = toml(tmp_path, 'topic_prefix = "top."\n')
    assert read().settings.topic_prefix == "backpack."
    assert read("--config", top).settings.topic_prefix == "top."
    path = toml(tmp_path, 'topic_prefix = "top."\n[market-producer]\ntopic_prefix = "table."\n')
    environment = {"BACKPACK_STREAMS_TOPIC_PREFIX": "env."}
    assert read("--config", path).settings.topic_prefix == "table."
    assert read("--config", path, environment=environment).settings.topic_prefix == "env."
    flags = ("--config", path, "--topic-prefix", "flag.")
    result = read(*flags, environment=environment)
    assert result.settings.topic_prefix == "flag."
    assert result.origins == {"topic_prefix": "--topic-prefix"}


def test_the_file_may_be_named_by_the_environment_and_a_flag_wins(tmp_path: Path) -> None:
    path = toml(tmp_path, "depth = 7")
    assert read(environment={"BACKPACK_STREAMS_CONFIG": path}).settings.depth == 7
    assert read("--config", path, environment={"BACKPACK_STREAMS_CONFIG": "/nowhere"}).settings.depth == 7


def test_the_table_and_settings_of_other_commands_are_ignored(tmp_path: Path) -> None:
    path = toml(tmp_path, "poll_seconds = 3\ndepth = 7\n[rest-poller]\nanything = 1\ndepth = 9\n")
    assert read("--config", path).settings.depth == 7


def test_the_second_variable_of_a_setting_has_lower_precedence_than_the_first() -> None:
    both = {"SCHEMA_REGISTRY_URL": "http://b:1", "BACKPACK_STREAMS_SCHEMA_REGISTRY_URL": "http://a:1"}
    assert read(environment=both).settings.schema_registry_url == "http://a:1"
    assert read(environment={"SCHEMA_REGISTRY_URL": "http://b:1"}).settings.schema_registry_url == "http://b:1"


def test_an_empty_variable_is_unset_and_an_empty_flag_means_none() -> None:
    assert read(environment={"BACKPACK_STREAMS_TOPIC_PREFIX": ""}).settings.topic_prefix == "backpack."
    environment = {"SCHEMA_REGISTRY_URL": "http://b:1"}
    assert read("--schema-registry-url", "", environment=environment).settings.schema_registry_url is None
    assert read("--topic-prefix", "").settings.topic_prefix == ""


def test_booleans_in_all_spellings(tmp_path: Path) -> None:
    assert read("--verbose").settings.verbose is True
    environment = {"BACKPACK_STREAMS_VERBOSE": "Yes"}
    assert read(environment=environment).settings.verbose is True
    assert read("--no-verbose", environment=environment).settings.verbose is False
    assert read(environment={"BACKPACK_STREAMS_VERBOSE": "0"}).settings.verbose is False
    assert read("--config", toml(tmp_path, "verbose = true")).settings.verbose is True
    assert read("--json").settings.json_output is True
    assert read("--config", toml(tmp_path, "json = true")).settings.json_output is True


def test_numbers_literals_paths_and_short_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    settings = read("--depth", "20", "--ratio", "0.25", "--speed", "max", "-n", "3", "--data-dir", "~/kafka").settings
    assert (settings.depth, settings.ratio, settings.speed, settings.count) == (20, 0.25, "max", 3)
    assert settings.data_dir == Path("/home/somebody/kafka")
    assert read("--speed", "2.5").settings.speed == 2.5


def test_lists_from_every_source(tmp_path: Path) -> None:
    expected = ("BTC_USDC_PERP", "AAPL.US_USDC_PERP")
    text = ", ".join(expected)
    assert read("--symbols", text).settings.symbols == expected
    assert read("--symbols", expected[0], "--symbols", expected[1]).settings.symbols == expected
    assert read(environment={"BACKPACK_STREAMS_SYMBOLS": text}).settings.symbols == expected
    assert read("--config", toml(tmp_path, f"symbols = {list(expected)!r}")).settings.symbols == expected
    assert read("--config", toml(tmp_path, f"symbols = {text!r}")).settings.symbols == expected
    assert read("--symbols", "all").settings.symbols == "all"


def test_a_repeated_flag_keeps_commas() -> None:
    settings = read("--fault", "drop:a=1,b=2", "--fault", "cut").settings
    assert settings.faults == ["drop:a=1,b=2", "cut"]
    environment = {"BACKPACK_STREAMS_FAULT": "drop:a=1,b=2; cut"}
    assert read(environment=environment).settings.faults == ["drop:a=1,b=2", "cut"]


@given(st.lists(st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True), min_size=1, max_size=8))
def test_a_list_survives_every_source(names: list[str]) -> None:
    joined = ",".join(names)
    assert read(f"--names={joined}").settings.names == names
    assert read(*(f"--names={name}" for name in names)).settings.names == names
    assert read(environment={"BACKPACK_STREAMS_NAMES": joined}).settings.names == names


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--depth", "x"), "--depth: 'x' is not allowed; it must be a whole number, at least 1 and at most 1000"),
        (("--depth", "0"), "--depth: '0' is not allowed; it must be a whole number, at least 1 and at most 1000"),
        (("--ratio", "0"), "--ratio: '0' is not allowed; it must be a number, above 0"),
        (("--speed", "fast"), "--speed: 'fast' is not allowed; it must be a number or max"),
        (
            ("--security-protocol", "TLS"),
            "--security-protocol: 'TLS' is not allowed; it must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        ),
        (
            ("--bootstrap-servers", "kafka"),
            "--bootstrap-servers: 'kafka' is not HOST:PORT with a port of 1 to 65535",
        ),
        (
            ("--shard-index", "2", "--shard-count", "2"),
            "--shard-index: shard 2 of 2 does not exist; --shard-index must be below --shard-count (0 to 1)",
        ),
    ],
)
def test_a_wrong_flag_gives_one_line(flags: tuple[str, ...], message: str) -> None:
    assert complaint(*flags) == message


def test_the_source_of_a_wrong_value_is_named(tmp_path: Path) -> None:
    allowed = "is not allowed; it must be a whole number, at least 1 and at most 1000"
    assert complaint(environment={"BACKPACK_STREAMS_DEPTH": "x"}) == f"BACKPACK_STREAMS_DEPTH: 'x' {allowed}"
    path = toml(tmp_path, "depth = 'x'")
    assert complaint("--config", path) == f"{path}: depth: 'x' {allowed}"
    path = toml(tmp_path, "[market-producer]\ndepth = 2000")
    assert complaint("--config", path) == f"{path}: [market-producer] depth: '2000' {allowed}"
    path = toml(tmp_path, "depth = true")
    assert complaint("--config", path) == f"{path}: depth: true {allowed}"
    wrong = complaint(environment={"BACKPACK_STREAMS_VERBOSE": "maybe"})
    assert wrong == "BACKPACK_STREAMS_VERBOSE: 'maybe' is not allowed; it must be true or false"


def test_a_conflict_names_the_source_of_the_setting_at_fault() -> None:
    environment = {"BACKPACK_STREAMS_SECURITY_PROTOCOL": "SASL_SSL"}
    assert complaint(environment=environment) == (
        "BACKPACK_STREAMS_SECURITY_PROTOCOL: SASL_SSL needs --sasl-mechanism, "
        "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"
    )


def test_an_error_about_a_secret_from_a_file_names_the_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2")
    message = complaint("--sasl-password-file", str(secret))
    assert message.startswith("--sasl-password-file: no login takes place with PLAINTEXT")


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1) | st.just("two\r\nlines\rof a key"),
    st.sampled_from(["", "\n", "\r\n", "\n\n", "\r"]),
)
def test_a_secret_is_the_same_from_every_source(secret: str, line_end: str) -> None:
    login = ("--security-protocol", "SASL_SSL", "--sasl-mechanism", "PLAIN", "--sasl-username", "u")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "password")
        path.write_bytes((secret + line_end).encode())
        given_ways = [
            read(*login, "--sasl-password-file", str(path)),
            read(*login, environment={"BACKPACK_STREAMS_SASL_PASSWORD_FILE": f"{path}{line_end}"}),
            read(*login, environment={"BACKPACK_STREAMS_SASL_PASSWORD": secret + line_end}),
            read(*login, f"--sasl-password={secret}{line_end}"),
            read(
                *login,
                "--config",
                toml(Path(folder), f"sasl_password = {json.dumps(secret + line_end, ensure_ascii=False)}"),
            ),
        ]
    assert {each.settings.sasl_password.get_secret_value() for each in given_ways} == {secret}


def test_a_variable_that_contains_only_line_ends_is_unset() -> None:
    settings = read(environment={"BACKPACK_STREAMS_SASL_PASSWORD": "\r\n", "BACKPACK_STREAMS_DEPTH": "7\n"}).settings
    assert (settings.sasl_password, settings.depth) == (None, 7)


def test_no_message_contains_a_secret() -> None:
    class PinSettings(Settings):
        pin: SecretStr | None = Field(default=None, max_length=3)

    message = complaint("--pin", "hunter2", model=PinSettings)
    assert message == "--pin: this value is not allowed; it must be text"
    assert "hunter2" not in complaint("--sasl-password", "hunter2")


def test_a_missing_required_setting_is_named_in_all_spellings() -> None:
    assert complaint(model=NeedySettings) == (
        "--data-dir is required (or BACKPACK_STREAMS_DATA_DIR, or data_dir in a settings file)"
    )


def test_for_an_unknown_key_the_nearest_one_is_suggested(tmp_path: Path) -> None:
    path = toml(tmp_path, 'bootstrap-servers = "a:1"')
    assert complaint("--config", path) == (
        f"{path}: no setting is called bootstrap-servers; did you mean 'bootstrap_servers'?"
    )
    path = toml(tmp_path, "[market-producer]\npoll_seconds = 1")
    assert complaint("--config", path) == f"{path}: [market-producer] poll_seconds: market-producer has no such setting"
    path = toml(tmp_path, "[market_producer]\ndepth = 1")
    assert complaint("--config", path) == (
        f"{path}: no command is called [market_producer]; did you mean 'market-producer'?"
    )
    path = toml(tmp_path, "market-producer = 1")
    assert complaint("--config", path).startswith(f"{path}: no setting is called market-producer")


def test_unknown_variables_give_a_warning_but_no_error() -> None:
    environment = {
        "BACKPACK_STREAMS_BOOTSTRAP_SERVER": "a:1",
        "BACKPACK_STREAMS_POLL_SECONDS": "1",
        "BACKPACK_STREAMS_JAVA_HOME": "/x",
        "BACKPACK_STREAMS_GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "BACKPACK_STREAMS_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "OTHER": "x",
    }
    assert read(environment=environment).warnings == (
        "the environment variable BACKPACK_STREAMS_BOOTSTRAP_SERVER is not a setting and has no effect; "
        "did you mean 'BACKPACK_STREAMS_BOOTSTRAP_SERVERS'?",
    )


def test_help_names_flag_variable_key_and_default() -> None:
    text = parser_of(ProbeSettings).format_help()
    assert "--bootstrap-servers HOST:PORT" in text
    words = " ".join(text.split())
    assert "env BACKPACK_STREAMS_BOOTSTRAP_SERVERS · key bootstrap_servers · default 127.0.0.1:19092" in words
    assert "env BACKPACK_STREAMS_SCHEMA_REGISTRY_URL or SCHEMA_REGISTRY_URL · key schema_registry_url" in words
    assert "--verbose, --no-verbose" in words
    assert "levels, 100 % exact" in words
    assert re.search(r"-n( N)?, --count N", words)
    assert words.index("Probe:") < words.index("Symbol:") < words.index("Kafka:")
