"""Credentials and control characters do not get into what is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.registry_client import RegistryConnection
from backpack_streams.cli.main import main
from backpack_streams.runtime.settings import KafkaSettings
from backpack_streams.shown_text import (
    escape_unprintable,
    hide_credentials,
    hide_credentials_in_url,
    loggable_lines,
    one_line,
)

PASSWORD = st.text(st.characters(codec="ascii", exclude_categories=["Zs", "Cc"]), min_size=1).filter(
    lambda text: "://" not in text
)


@given(PASSWORD)
def test_no_password_is_shown_whatever_it_holds(password: str) -> None:
    url = f"http://user:{password}@host:8081/x"
    assert hide_credentials(f"asked {url} twice") == "asked http://***@host:8081/x twice"
    assert hide_credentials_in_url(url) == "http://***@host:8081/x"
    assert hide_credentials_in_url(url.removeprefix("http://")) == "***@host:8081/x"
    assert RegistryConnection(f"{url},{url}").shown == "http://***@host:8081/x,http://***@host:8081/x"
    assert one_line(f"no answer\nfrom {url}") == "no answer from http://***@host:8081/x"


@given(st.text())
def test_text_without_credentials_is_left_alone(text: str) -> None:
    if "@" not in text:
        assert hide_credentials(text) == text


@given(st.text())
def test_what_is_escaped_is_printable_and_what_is_printable_stays(text: str) -> None:
    shown = escape_unprintable(text)
    assert shown.isprintable()
    assert (shown == text) is text.isprintable()
    assert all(line.isprintable() for line in loggable_lines(text))
    assert one_line(text).isprintable()
    assert len(one_line(text, 10)) <= 10


def test_megabytes_of_addresses_take_no_time() -> None:
    assert len(hide_credentials("://" * 1_000_000 + " @")) == 3_000_002


@pytest.mark.parametrize(
    "address",
    [
        "http://wolf:h@nt/er@host",
        "http://wolf:1/nt@host",
        "wolf:h@nt@host",
        "http://wolf:h nt@host",
        "http://nt:wolf,nt@host,x",
    ],
)
def test_a_refused_registry_url_shows_no_password(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "--schema-registry-url", address, "list"]) == 2
    shown = capsys.readouterr().err
    assert "***@host" in shown
    assert "is not a URL of the form" in shown
    assert "wolf" not in shown
    assert "nt" not in shown


def test_an_accepted_registry_url_shows_no_password() -> None:
    settings = KafkaSettings(schema_registry_url="http://user:p@ss@one, http://user:p@ss@two:1")
    assert settings.schema_registry_url == "http://user:p@ss@one,http://user:p@ss@two:1"
    assert settings.loggable()["schema_registry_url"] == "http://***@one,http://***@two:1"


def test_an_error_of_the_command_line_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["\x1b[2Jtopics"]) == 2
    assert capsys.readouterr().err.rstrip("\n").isprintable()
