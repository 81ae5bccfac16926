"""Proxies to the exchange, the same for the WebSocket and for REST: real sockets, real TLS."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from backpack_streams.commands.doctor.exchange import examine_exchange
from backpack_streams.commands.doctor.findings import Finding, State
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from integration.exchange_network.tls_exchange import (
    LOGIN,
    LOGIN_IN_URL,
    REST_URL,
    WS_URL,
    asked,
    both,
    exchange,
    opened,
    server_context,
)
from proxies import http_proxy, socks_proxy

pytestmark = pytest.mark.usefixtures("socket_class")

TO_BOTH = ["CONNECT ws.exchange.test:443", "CONNECT api.exchange.test:443"]


@pytest.mark.parametrize("login", [None, LOGIN])
async def test_a_proxy_serves_websocket_and_rest(
    authority: trustme.CA, ca_file: Path, login: tuple[str, str] | None
) -> None:
    async with exchange(authority) as port, http_proxy(port, login) as proxy:
        url = f"http://{LOGIN_IN_URL if login else ''}127.0.0.1:{proxy.port}"
        assert await both(NetworkSettings(proxy=url, ca_file=ca_file)) == ("open", "answer")
        assert proxy.asked == TO_BOTH


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_from_the_environment_serves_websocket_and_rest(
    authority: trustme.CA, ca_file: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchange(authority) as port, http_proxy(port, LOGIN) as proxy:
        monkeypatch.setenv(variable, f"http://{LOGIN_IN_URL}127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "[fd00::]/8,fd01::/16,[::1]:8080,10.0.0.0/8,.svc")
        assert await both(NetworkSettings(ca_file=ca_file)) == ("open", "answer")
        assert proxy.asked == TO_BOTH
        proxy.asked.clear()
        monkeypatch.setenv("NO_PROXY", "exchange.test")
        assert all("resolve" in each or "ConnectError" in each for each in await both(NetworkSettings(ca_file=ca_file)))
        assert proxy.asked == []


async def test_settings_override_the_proxy_from_the_environment(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchange(authority) as port, http_proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "*")
        network = NetworkSettings(proxy=f"http://127.0.0.1:{proxy.port}", ca_file=ca_file)
        assert await both(network) == ("open", "answer")
        monkeypatch.delenv("NO_PROXY")
        refused = await both(NetworkSettings(proxy="none", ca_file=ca_file))
        assert all("127.0.0.1:9" not in each and each not in ("open", "answer") for each in refused)


async def test_no_proxy_is_used_for_loopback_addresses(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchange(authority) as port, http_proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        network = NetworkSettings(ca_file=ca_file)
        assert await opened(network, f"wss://127.0.0.1:{port}") == "open"
        assert await asked(network, f"https://127.0.0.1:{port}") == "answer"
        assert proxy.asked == []


def in_uvloop(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)


async def through_tls(authority: trustme.CA, ca_file: Path) -> None:
    context = server_context(authority, "127.0.0.1")
    async with exchange(authority) as port, http_proxy(port, LOGIN, context) as proxy:
        url = f"https://{LOGIN_IN_URL}127.0.0.1:{proxy.port}"
        assert await both(NetworkSettings(proxy=url, ca_file=ca_file)) == ("open", "answer")
        assert proxy.asked == TO_BOTH


async def test_a_proxy_that_is_reached_over_tls(authority: trustme.CA, ca_file: Path) -> None:
    await through_tls(authority, ca_file)


def test_a_proxy_that_is_reached_over_tls_in_uvloop(authority: trustme.CA, ca_file: Path) -> None:
    in_uvloop(through_tls(authority, ca_file))


@pytest.mark.parametrize("login", [None, LOGIN])
async def test_a_socks_proxy_serves_the_websocket(
    authority: trustme.CA, ca_file: Path, login: tuple[str, str] | None
) -> None:
    async with exchange(authority) as port, socks_proxy(port, login) as proxy:
        url = f"socks5h://{LOGIN_IN_URL if login else ''}127.0.0.1:{proxy.port}"
        assert await opened(NetworkSettings(proxy=url, ca_file=ca_file)) == "open"
        assert proxy.asked == ["SOCKS ws.exchange.test:443"]


async def test_a_socks_proxy_serves_rest(authority: trustme.CA, ca_file: Path) -> None:
    pytest.importorskip("socksio")
    async with exchange(authority) as port, socks_proxy(port, LOGIN) as proxy:
        proxy.failures = [b"", b"\x05", b"no SOCKS at all", b"\x05\xff"]
        url = f"socks5h://{LOGIN_IN_URL}127.0.0.1:{proxy.port}"
        assert await asked(NetworkSettings(proxy=url, ca_file=ca_file), attempts=5) == "answer"
        assert proxy.asked == ["SOCKS"] * 4 + ["SOCKS api.exchange.test:443"]


async def test_doctor_checks_the_proxy_and_connects_through_it(authority: trustme.CA, ca_file: Path) -> None:
    async with exchange(authority) as port, http_proxy(port, LOGIN) as proxy:
        settings = DoctorSettings(
            ws_url=WS_URL,
            rest_url=REST_URL,
            exchange_proxy=f"http://{LOGIN_IN_URL}127.0.0.1:{proxy.port}",
            exchange_ca_file=ca_file,
        )
        findings: list[Finding] = []
        await examine_exchange(settings, findings.append)
        assert {each.check for each in findings if each.state is State.OK} >= {
            "websocket",
            "dns 127.0.0.1",
            f"port 127.0.0.1:{proxy.port}",
        }
        assert set(proxy.asked) == set(TO_BOTH)
