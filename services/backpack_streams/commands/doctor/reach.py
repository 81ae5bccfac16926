"""The thin shell around `network`: connects to a server step by step, each step with a deadline."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from backpack_streams.commands.doctor.findings import Finding, skipped
from backpack_streams.commands.doctor.network import Target, judge_name, judge_port, judge_tls

NAME_SECONDS = 4.0
PORT_SECONDS = 3.0
TLS_SECONDS = 3.0
_LATE_REFUSAL_SECONDS = 0.3
"""In TLS 1.3 the client finishes before the server has checked its certificate, so a refusal comes later (RFC 8446, section 4.4.2.4)."""

Answer = TypeVar("Answer")


class Reached(NamedTuple):
    """The result of connecting to a server.

    Attributes:
        findings: the findings of each step.
        is_open: whether all steps succeeded.
    """

    findings: list[Finding]
    is_open: bool


async def reach(target: Target) -> Reached:
    """Connect to a server step by step: name, port and, if the target has a TLS context, TLS.

    After a failure, the later steps are reported as skipped.

    Args:
        target: the server.
    """
    checks = ["dns", "port", *(["tls"] if target.context else [])]
    findings: list[Finding] = []
    try:
        addresses: list[str] | BaseException = await _addresses(target)
    except (OSError, UnicodeError) as error:  # a label that is too long for the DNS is a UnicodeError
        addresses = error
    findings.append(judge_name(target, addresses).of(target.part, f"dns {target.host}"))
    if isinstance(addresses, BaseException):
        return Reached(findings + _after(target, checks, 1), is_open=False)
    opened, refusal = await _connect(target, addresses)
    findings.append(judge_port(target, refusal, addresses).of(target.part, f"port {target.address}"))
    if opened is None:
        return Reached(findings + _after(target, checks, 2), is_open=False)
    reader, writer = opened
    try:
        if target.context is None:
            return Reached(findings, is_open=True)
        failure, version = await _handshake(reader, writer, target.context, target.host)
        findings.append(judge_tls(target, failure, version).of(target.part, f"tls {target.address}"))
        return Reached(findings, is_open=failure is None)
    finally:
        writer.transport.abort()


def _after(target: Target, checks: list[str], done: int) -> list[Finding]:
    return [skipped("an earlier step failed").of(target.part, f"{each} {target.address}") for each in checks[done:]]


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a port that should be plain answers a TLS handshake within 3 s. Any certificate is accepted.

    Args:
        host: name or address.
        port: the port.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(TLS_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def in_thread(question: Callable[[], Answer]) -> Answer:
    """Return the result of a blocking call.

    Its daemon thread does not keep the program alive if the caller is gone. A cancellation does not end the call.

    Args:
        question: the call; it runs in a new thread.

    Raises:
        BaseException: what the call raised.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()

    def tell(result: Answer | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None only if that is the result

    def ask() -> None:
        try:
            result, error = question(), None
        except BaseException as failure:  # noqa: BLE001  # any error belongs to the caller
            result, error = None, failure
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for the result
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=ask, daemon=True).start()
    return await answer


async def _addresses(target: Target) -> list[str]:
    async with asyncio.timeout(NAME_SECONDS):
        found = await in_thread(lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(str(each[4][0]) for each in found))


async def _connect(
    target: Target, addresses: list[str]
) -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None, BaseException | None]:
    error: BaseException | None = None
    for address in addresses:
        try:
            async with asyncio.timeout(PORT_SECONDS / len(addresses)):
                return await asyncio.open_connection(address, target.port), None
        except OSError as failure:  # TimeoutError is an OSError; another address may work
            error = failure
    return None, error


async def _handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str
) -> tuple[BaseException | None, str]:
    try:
        async with asyncio.timeout(TLS_SECONDS):
            await writer.start_tls(context, server_hostname=host)
        version = writer.get_extra_info("ssl_object").version() or "TLS"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LATE_REFUSAL_SECONDS):
                await reader.read(1)
    except OSError as error:  # ssl's errors are OSErrors, and so is TimeoutError
        return error, ""
    return None, version
