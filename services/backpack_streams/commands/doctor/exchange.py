"""Checks the exchange: the network path, REST, the WebSocket's handshake, and our clock against the exchange's."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from backpack_streams.commands.doctor.findings import Finding, Part, Verdict, fail, ok, row_text, skipped, warn
from backpack_streams.commands.doctor.network import Target
from backpack_streams.commands.doctor.reach import reach
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.errors import UsageError
from backpack_streams.exchange.clock import WORTH_SAYING_MS, ExchangeClock, Skew
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.exchange_socket import ExchangeSocket, SocketFailedError
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.proxies import Proxy
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.socket_choice import socket_class
from backpack_streams.exchange_clients.from_settings import network_settings

REST, WEBSOCKET, CLOCK = "rest", "websocket", "clock"
_STATUS_PATH = "/api/v1/status"
_ANSWER_SECONDS = 5.0
_MEASUREMENTS = 3
_PORT_OF_SCHEME = {"http": 80, "ws": 80, "https": 443, "wss": 443}

Tell = Callable[[Finding], None]


async def examine_exchange(settings: DoctorSettings, tell: Tell) -> None:
    """Check REST and WebSocket concurrently, each through the proxy that the services would use.

    Args:
        settings: the addresses and the network path.
        tell: takes each finding.
    """
    network = network_settings(settings)
    try:
        context = network.ssl_context()
        rest, socket = (network.proxy_for(url) for url in (settings.rest_url, settings.ws_url))
    except UsageError as error:
        tell(fail(row_text(error), "check the setting or variable that it names").of(Part.EXCHANGE, "way"))
        return
    await asyncio.gather(
        _examine_rest(settings.rest_url, network, _target(settings.rest_url, "--rest-url", context, rest), tell),
        _examine_socket(settings.ws_url, socket, _target(settings.ws_url, "--ws-url", context, socket), context, tell),
    )


async def _examine_rest(url: str, network: NetworkSettings, target: Target, tell: Tell) -> None:
    way = await reach(target)
    for finding in way.findings:
        tell(finding)
    if not way.is_open:
        for check in (REST, CLOCK):
            tell(skipped("the exchange's REST API is unreachable").of(Part.EXCHANGE, check))
        return
    settings = RestSettings(
        base_url=url,
        connect_timeout_seconds=_ANSWER_SECONDS,
        read_timeout_seconds=_ANSWER_SECONDS,
        deadline_seconds=_ANSWER_SECONDS,
        most_attempts=1,
        network=network,
    )
    try:
        client = RestClient(settings)
    except UsageError as error:  # a SOCKS proxy without the package that it needs
        tell(fail(row_text(error), "install it, or use another proxy").of(Part.EXCHANGE, REST))
        return
    async with client as rest:
        tell((await _status(rest)).of(Part.EXCHANGE, REST))
        tell((await _clock(rest)).of(Part.EXCHANGE, CLOCK))


async def _status(rest: RestClient) -> Verdict:
    try:
        return judge_status((await rest.fetch(_STATUS_PATH)).body)
    except RestError as error:
        return judge_refusal(error)


def judge_status(body: bytes | None) -> Verdict:
    """Judge the exchange's own status.

    Args:
        body: the body of `/api/v1/status`, None if there was none.
    """
    try:
        answer: Any = msgspec.json.decode(body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    if not isinstance(answer, Mapping) or "status" not in answer:
        return fail("the answer is not the exchange's API", "check --rest-url, and whether a proxy answers instead")
    status, message = row_text(answer["status"]), row_text(answer.get("message") or "")
    if status.lower() == "ok":
        return ok(f"answers, status {status}")
    return warn(
        f"answers, status {status}{': ' + message if message else ''}",
        "wait: the exchange reports that it is not operating",
    )


def judge_refusal(error: RestError) -> Verdict:
    """Judge a REST call without a usable answer; the verdict's advice is that of the error."""
    status = f"HTTP {error.status}: " if error.status is not None else ""
    return fail(f"{status}{row_text(error.message)}", error.advice)


async def _clock(rest: RestClient) -> Verdict:
    """Judge the most precise of several measurements: the first one includes the connection's setup."""
    measured: list[Skew] = []
    for _ in range(_MEASUREMENTS):
        asked_us = time.time_ns() // 1000
        try:
            answer = await rest.time_ms()
        except RestError as error:
            return skipped(f"the exchange does not report its time ({row_text(error.message, 100)})")
        if not answer.age_seconds:
            measured.append(Skew.measured(asked_us, answer.body, answer.received_time_us))
    if not measured:
        return skipped("a cache answers instead of the exchange, so its time is outdated")
    return judge_clock(min(measured, key=lambda skew: skew.uncertainty_ms))


def judge_clock(skew: Skew) -> Verdict:
    """Judge whether received times are right, and whether signatures can be valid.

    A difference is a warning only if it exceeds the threshold by more than the uncertainty of the measurement.

    Args:
        skew: the most precise measurement of the clocks' difference, in ms.
    """
    clock = ExchangeClock(skew)
    found = f"this machine's clock is {skew}"
    if clock.is_beyond_correction:
        return fail(found, "set the clock (NTP): received times are wrong by as much, and no signature is valid")
    if abs(skew.ahead_ms) - skew.uncertainty_ms > WORTH_SAYING_MS:
        return warn(found, "set the clock (NTP): received times on the bus are wrong by as much")
    return ok(found)


async def _examine_socket(url: str, proxy: Proxy | None, target: Target, context: ssl.SSLContext, tell: Tell) -> None:
    way = await reach(target)
    for finding in way.findings:
        tell(finding)
    if not way.is_open:
        tell(skipped("the exchange's WebSocket is unreachable").of(Part.EXCHANGE, WEBSOCKET))
        return
    socket = socket_class()(1, _Nobody(), _ignore, ConnectionSettings(connect_timeout_seconds=_ANSWER_SECONDS))
    try:
        await socket.connect(url, context if url.startswith("wss") or target.context else None, proxy)
    except SocketFailedError as error:
        found, _, todo = row_text(error).rpartition("; ")
        tell(fail(found or row_text(error), todo or "check --ws-url").of(Part.EXCHANGE, WEBSOCKET))
        return
    socket.give_up("looked at")
    await socket.wait_gone()
    tell(ok("the handshake is done").of(Part.EXCHANGE, WEBSOCKET))


class _Nobody:
    """Takes the socket's events, which nothing here needs."""

    def socket_opened(self, socket: ExchangeSocket) -> None:
        """The handshake is done."""

    def socket_ponged(self, socket_id: int, payload: bytes) -> None:
        """A Pong arrived."""

    def socket_closed_by_server(self, socket_id: int, code: int, reason: str) -> None:
        """A Close frame arrived."""

    def frame_failed(self, socket_id: int, payload: bytes, error: Exception) -> None:
        """A frame could not be handled. Frames are ignored here."""


def _ignore(socket_id: int, payload: bytes) -> None:
    pass


def _target(url: str, setting: str, context: ssl.SSLContext, proxy: Proxy | None) -> Target:
    """Return the server to connect to: the exchange, or the proxy."""
    parts = urlsplit(url if proxy is None else proxy.address)
    return Target(
        Part.EXCHANGE,
        parts.hostname or "",
        parts.port or _PORT_OF_SCHEME[parts.scheme],
        context if parts.scheme in ("https", "wss") else None,
        setting if proxy is None else proxy.named_by,
        ca_advice="install the system's CA certificates (ca-certificates), or set the proxy's with --exchange-ca-file",
        plain_advice=f"check scheme and port in {setting if proxy is None else proxy.named_by}",
    )
