"""Judges a failure on the path to a server, step by step: name, port, TLS. Sans I/O."""

import socket
import ssl
from typing import NamedTuple

from backpack_streams.commands.doctor.findings import Part, Verdict, fail, few, ok, row_text

_OTHER_HOST = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_NOT_YET_VALID, _EXPIRED = 9, 10
_NO_TLS_THERE = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
_WANTS_CERTIFICATE = (
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_UNKNOWN",
    "BAD_CERTIFICATE",
    "HANDSHAKE_FAILURE",
    "UNKNOWN_CA",
)


class Target(NamedTuple):
    """A server to reach, with advice for failures.

    Attributes:
        part: the part that is checked.
        host: the host.
        port: the port.
        context: the TLS context, None without TLS.
        address_setting: the setting that names the server.
        ca_advice: what to do if the server's certificate is not trusted.
        plain_advice: what to do if the server does not use TLS.
        certificate_advice: what to do if the server requires a client certificate.
    """

    part: Part
    host: str
    port: int
    context: ssl.SSLContext | None
    address_setting: str
    ca_advice: str
    plain_advice: str = "use a URL without TLS, or the TLS port"
    certificate_advice: str = "a server in between requires a client certificate"

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def judge_name(target: Target, answer: list[str] | BaseException) -> Verdict:
    """Judge the answer of the DNS.

    Args:
        target: the server.
        answer: its addresses, or an error.
    """
    if isinstance(answer, list):
        return ok(few(answer))
    advice = f"check {target.address_setting}, and this machine's DNS (in a pod: the Service's name and namespace)"
    if isinstance(answer, TimeoutError):
        return fail("the DNS does not answer", advice)
    reason = answer.strerror if isinstance(answer, socket.gaierror) else answer
    return fail(f"the name does not resolve ({row_text(reason)})", advice)


def judge_port(target: Target, error: BaseException | None, addresses: list[str]) -> Verdict:
    """Judge whether a server listens on the port and accepts the connection.

    Args:
        target: the server.
        error: the failure, None if the connection succeeded.
        addresses: the addresses that were tried.
    """
    if error is None:
        return ok("open")
    if isinstance(error, ConnectionRefusedError):
        return fail(
            "connection refused: nothing listens there",
            f"check that it is running, and the port in {target.address_setting}",
        )
    if isinstance(error, TimeoutError):
        return fail(
            f"no answer from {few(addresses)}",
            f"a firewall or NetworkPolicy drops it, or the address is wrong: check {target.address_setting}",
        )
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return fail(row_text(reason), f"check the network from here, and {target.address_setting}")


def judge_tls(target: Target, error: BaseException | None, version: str = "") -> Verdict:
    """Judge the TLS handshake.

    Args:
        target: the server.
        error: the failure, None if the handshake succeeded.
        version: the negotiated version.
    """
    if error is None:
        return ok(f"{version}, its certificate is trusted" if target.context and _verifies(target.context) else version)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _judge_certificate(target, error)
    if isinstance(error, TimeoutError):
        return fail("the TLS handshake gets no answer", f"the port may not speak TLS: {target.plain_advice}")
    reason = (error.reason if isinstance(error, ssl.SSLError) else None) or ""
    if any(each in reason for each in _WANTS_CERTIFICATE):
        return fail(f"it refuses the client's TLS ({reason.lower().replace('_', ' ')})", target.certificate_advice)
    if any(each in reason for each in _NO_TLS_THERE) or not isinstance(error, ssl.SSLError):
        return fail("it does not speak TLS on this port", target.plain_advice)
    return fail(f"TLS fails: {row_text(reason or error)}", "check that both sides allow a common TLS version")


def _judge_certificate(target: Target, error: ssl.SSLCertVerificationError) -> Verdict:
    why = row_text(error.verify_message)
    if error.verify_code in _OTHER_HOST:
        return fail(
            f"its certificate is for another host: {why}",
            f"use the host that the certificate names in {target.address_setting}, or have it issued for {target.host}",
        )
    if error.verify_code == _EXPIRED:
        return fail("its certificate has expired", "renew the server's certificate; check this machine's clock")
    if error.verify_code == _NOT_YET_VALID:
        return fail("its certificate is not valid yet", "check this machine's clock, and the certificate")
    return fail(f"no trusted authority signed its certificate: {why}", target.ca_advice)


def _verifies(context: ssl.SSLContext) -> bool:
    return context.verify_mode is not ssl.CERT_NONE
