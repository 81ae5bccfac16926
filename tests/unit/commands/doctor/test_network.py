"""Each failure to reach a server has its own message and advice."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.commands.doctor.findings import Part, State, few, one_line
from backpack_streams.commands.doctor.network import Target, judge_name, judge_port, judge_tls

TARGET = Target(
    Part.KAFKA, "kafka-1", 9092, None, "--bootstrap-servers", "give the CA", "no TLS there", "give a certificate"
)


def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "found", "todo"),
    [
        (verification(62, "Hostname mismatch"), "for another host", "--bootstrap-servers"),
        (verification(64, "IP address mismatch"), "for another host", "kafka-1"),
        (verification(10, "certificate has expired"), "expired", "renew"),
        (verification(9, "not yet valid"), "not valid yet", "clock"),
        (verification(20, "unable to get local issuer certificate"), "no trusted authority", "give the CA"),
        (verification(18, "self-signed certificate"), "no trusted authority", "give the CA"),
        (tls("WRONG_VERSION_NUMBER"), "does not speak TLS", "no TLS there"),
        (ConnectionResetError(104, "reset"), "does not speak TLS", "no TLS there"),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "certificate required", "give a certificate"),
        (tls("NO_PROTOCOLS_AVAILABLE"), "NO_PROTOCOLS_AVAILABLE", "TLS version"),
        (TimeoutError(), "no answer", "no TLS there"),
    ],
)
def test_tls_failures_are_told_apart(error: Exception, found: str, todo: str) -> None:
    verdict = judge_tls(TARGET, error)
    assert verdict.state is State.FAIL
    assert found in verdict.found
    assert todo in verdict.todo


def test_tls_is_called_trusted_only_if_it_was_verified(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    context = ssl.create_default_context(cafile=ca)
    assert judge_tls(TARGET._replace(context=context), None, "TLSv1.3") == (
        State.OK,
        "TLSv1.3, its certificate is trusted",
        "",
    )
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert judge_tls(TARGET._replace(context=context), None, "TLSv1.3").found == "TLSv1.3"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ConnectionRefusedError(111, "refused"), "nothing listens"),
        (TimeoutError(), "no answer from 10.0.0.1"),
        (OSError(113, "No route to host"), "No route to host"),
    ],
)
def test_port_failures_are_told_apart(error: OSError, found: str) -> None:
    verdict = judge_port(TARGET, error, ["10.0.0.1"])
    assert (verdict.state, found in verdict.found) == (State.FAIL, True)
    assert verdict.todo


def test_name_lookups_are_judged() -> None:
    assert judge_name(TARGET, ["10.0.0.1", "10.0.0.2"]) == (State.OK, "10.0.0.1, 10.0.0.2", "")
    unknown = judge_name(TARGET, socket.gaierror(-2, "Name or service not known"))
    assert (unknown.state, "Name or service not known" in unknown.found) == (State.FAIL, True)
    assert "does not answer" in judge_name(TARGET, TimeoutError()).found


@pytest.mark.parametrize(("host", "address"), [("kafka-1", "kafka-1:9092"), ("::1", "[::1]:9092")])
def test_the_host_of_an_address_is_bracketed_if_it_is_ipv6(host: str, address: str) -> None:
    assert TARGET._replace(host=host).address == address


@given(st.text(max_size=400))
def test_foreign_text_is_one_short_printable_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 300
    assert line.isprintable() or not line


def test_few_says_how_many_more_there_are() -> None:
    assert few(["a"]) == "a"
    assert few(["a", "b", "c"]) == "a, b, c"
    assert few("abcde") == "a, b, c and 2 more"
