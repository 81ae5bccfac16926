"""The way to the exchange through proxies and private authorities, the same for the WebSocket and for REST: real sockets, real TLS."""

import asyncio
import base64
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from backpack_streams.commands.doctor.exchange import examine_exchange
from backpack_streams.commands.doctor.findings import Finding, State
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.errors import UsageError
from backpack_streams.exchange import proxies as proxies_of_exchange
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.session_actions import Notice, NoticeKind
from backpack_streams.exchange.session_settings import SessionSettings
from proxies import LoopbackProxy, http_proxy, socks_proxy

pytestmark = pytest.mark.usefixtures("socket_class")

WS_URL, REST_URL = "wss://ws.exchange.test", "https://api.exchange.test"
"""Names that no resolver knows: only the proxy can lead there."""
LOGIN = ("trader", "p@ss/word:1")
LOGIN_IN_URL = "trader:p%40ss%2Fword%3A1@"
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The exchange: its time over REST, a handshake and nothing more over WebSocket."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    keys = [line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key")]
    if keys:
        accept = base64.b64encode(hashlib.sha1((keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        await reader.read()
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n1700000000000")
        await writer.drain()
    writer.close()


@asynccontextmanager
async def exchange(authority: trustme.CA) -> AsyncIterator[int]:
    context = server_context(authority, "ws.exchange.test", "api.exchange.test", "127.0.0.1")
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def exchange_at(port: int, authority: trustme.CA) -> AsyncIterator[int]:
    """The exchange on this machine, at `port` (0: any). It hangs up on everybody when it ends."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            await _answer(reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=server_context(authority, "127.0.0.1"))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def opened(network: NetworkSettings, url: str = WS_URL) -> str:
    """`open`, or why not."""
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_notice(notice: Notice) -> None:
        if not outcome.done() and notice.kind in (NoticeKind.SOCKET_OPENED, NoticeKind.SOCKET_FAILED):
            outcome.set_result("open" if notice.kind is NoticeKind.SOCKET_OPENED else str(notice))

    connection = Connection(
        url,
        lambda socket_id, payload: None,
        on_notice=on_notice,
        settings=ConnectionSettings(network=network, stop_timeout_seconds=0.5, drop_after_close_seconds=0.1),
        session_settings=SessionSettings(),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(connection.run(stop))
    try:
        return await asyncio.wait_for(outcome, 15)
    finally:
        stop.set()
        await running


async def asked(network: NetworkSettings, url: str = REST_URL, attempts: int = 1) -> str:
    """`answer`, or why not."""
    settings = RestSettings(base_url=url, network=network, most_attempts=attempts, retry_base_seconds=0.01)
    async with RestClient(settings) as client:
        try:
            return "answer" if (await client.time_ms()).body == 1_700_000_000_000 else "another"
        except RestError as error:
            return str(error)


async def both(network: NetworkSettings) -> tuple[str, str]:
    return await opened(network), await asked(network)


TO_BOTH = ["CONNECT ws.exchange.test:443", "CONNECT api.exchange.test:443"]


@pytest.mark.parametrize("login", [None, LOGIN])
async def test_a_proxy_serves_both(authority: trustme.CA, ca_file: Path, login: tuple[str, str] | None) -> None:
    async with exchange(authority) as port, http_proxy(port, login) as proxy:
        url = f"http://{LOGIN_IN_URL if login else ''}127.0.0.1:{proxy.port}"
        assert await both(NetworkSettings(proxy=url, ca_file=ca_file)) == ("open", "answer")
        assert proxy.asked == TO_BOTH


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_serves_both(
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


async def test_what_the_environment_says_is_overruled(
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


async def test_a_proxy_is_not_asked_for_this_machine(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchange(authority) as port, http_proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        network = NetworkSettings(ca_file=ca_file)
        assert await opened(network, f"wss://127.0.0.1:{port}") == "open"
        assert await asked(network, f"https://127.0.0.1:{port}") == "answer"
        assert proxy.asked == []


async def test_one_ca_file_serves_both_and_without_it_neither_is_trusted(authority: trustme.CA, ca_file: Path) -> None:
    async with exchange(authority) as port, http_proxy(port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        assert await both(NetworkSettings(proxy=url, ca_file=ca_file)) == ("open", "answer")
        socket_words, rest_words = await both(NetworkSettings(proxy=url))
        assert "certificate is not trusted" in socket_words
        assert "CERTIFICATE_VERIFY_FAILED" in rest_words


async def test_a_ca_file_that_is_replaced_counts_for_the_next_connection(tmp_path: Path) -> None:
    """The file is away, then half written, then whole; whoever runs goes on meanwhile, and then uses it."""
    before, after, ca_file = trustme.CA(), trustme.CA(), tmp_path / "ca.pem"
    before.cert_pem.write_to_path(str(ca_file))
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        port = await first.enter_async_context(exchange_at(0, before))
        network = NetworkSettings(ca_file=ca_file)
        url = f"https://127.0.0.1:{port}"
        rest_settings = RestSettings(base_url=url, network=network, most_attempts=3, retry_base_seconds=0.01)
        client = await stack.enter_async_context(RestClient(rest_settings))
        connection = Connection(
            f"wss://127.0.0.1:{port}",
            lambda socket_id, payload: None,
            on_notice=notices.put_nowait,
            settings=ConnectionSettings(network=network, stop_timeout_seconds=0.5, drop_after_close_seconds=0.1),
            session_settings=SessionSettings(reconnect_base_seconds=0.05, reconnect_cap_seconds=0.1),
        )
        running = asyncio.create_task(connection.run(stop))
        await noticed(notices, NoticeKind.SOCKET_OPENED)
        await client.time_ms()
        await first.aclose()

        await stack.enter_async_context(exchange_at(port, after))
        ca_file.unlink()
        assert "not trusted" in await noticed(notices, NoticeKind.SOCKET_FAILED)
        with pytest.raises(RestError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.time_ms()
        ca_file.write_bytes(after.cert_pem.bytes()[:200])
        while not notices.empty():
            notices.get_nowait()
        assert "not trusted" in await noticed(notices, NoticeKind.SOCKET_FAILED)
        with pytest.raises(RestError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.time_ms()
        after.cert_pem.write_to_path(str(ca_file))
        await noticed(notices, NoticeKind.SOCKET_OPENED)
        assert (await client.time_ms()).body == 1_700_000_000_000
        stop.set()
        await running


async def noticed(notices: asyncio.Queue[Notice], kind: NoticeKind) -> str:
    async with asyncio.timeout(20):
        while (notice := await notices.get()).kind is not kind:
            pass
    return str(notice)


def in_uvloop(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)


async def through_tls(authority: trustme.CA, ca_file: Path) -> None:
    context = server_context(authority, "127.0.0.1")
    async with exchange(authority) as port, http_proxy(port, LOGIN, context) as proxy:
        url = f"https://{LOGIN_IN_URL}127.0.0.1:{proxy.port}"
        assert await both(NetworkSettings(proxy=url, ca_file=ca_file)) == ("open", "answer")
        assert proxy.asked == TO_BOTH


async def test_a_proxy_that_is_itself_reached_by_tls(authority: trustme.CA, ca_file: Path) -> None:
    await through_tls(authority, ca_file)


def test_a_proxy_that_is_itself_reached_by_tls_in_uvloop(authority: trustme.CA, ca_file: Path) -> None:
    in_uvloop(through_tls(authority, ca_file))


async def test_a_refused_login_is_told_without_the_password(authority: trustme.CA, ca_file: Path) -> None:
    async with exchange(authority) as port, http_proxy(port, LOGIN) as proxy:
        url = f"http://trader:wr%40ng@127.0.0.1:{proxy.port}"
        socket_words, rest_words = await both(NetworkSettings(proxy=url, ca_file=ca_file))
        assert f"the proxy http://127.0.0.1:{proxy.port} answers:" in socket_words
        assert "407" in socket_words
        assert "set its user and password (--exchange-proxy)" in socket_words
        assert "407" in rest_words
        assert not any(part in socket_words + rest_words for part in ("trader", "wr%40ng", "wr@ng"))


async def test_a_proxy_that_is_away_is_named() -> None:
    network = NetworkSettings(proxy="http://127.0.0.1:9")
    assert "through the proxy http://127.0.0.1:9 of --exchange-proxy: connection refused" in await opened(network)


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


def test_socks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setattr(proxies_of_exchange, "find_spec", lambda name: None)
    for make in (lambda: RestClient(RestSettings()), lambda: Connection(WS_URL, lambda socket_id, payload: None)):
        with pytest.raises(UsageError, match=r"ALL_PROXY names a SOCKS proxy.*pip install 'backpack-streams\[socks\]'"):
            make()


@pytest.mark.parametrize(
    "failure",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"nothing that is HTTP\r\n\r\n",
        b"",
    ],
    ids=["502", "407", "hangs up behind 200", "no HTTP", "hangs up"],
)
async def test_a_proxy_that_fails_for_a_moment_is_asked_again(
    authority: trustme.CA, ca_file: Path, failure: bytes
) -> None:
    async with exchange(authority) as port, http_proxy(port) as proxy:
        proxy.failures = [failure] * 2
        network = NetworkSettings(proxy=f"http://127.0.0.1:{proxy.port}", ca_file=ca_file)
        assert await asked(network, attempts=3) == "answer"
        assert proxy.asked == ["CONNECT api.exchange.test:443"] * 3
        proxy.failures = [failure] * 3
        words = await asked(network, attempts=3)
        assert "(3 attempts)" in words
        assert "may be repeated" in words


async def test_tls_that_breaks_inside_an_answer_is_asked_again(authority: trustme.CA, ca_file: Path) -> None:
    broken = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broken
        if broken == 2:
            return await _answer(reader, writer)
        broken += 1
        await reader.readuntil(b"\r\n\r\n")
        os.write(writer.get_extra_info("socket").fileno(), b"no TLS any more")
        await reader.read()
        return None

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context(authority, "127.0.0.1"))
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        assert await asked(NetworkSettings(ca_file=ca_file), url, attempts=3) == "answer"
    assert broken == 2


async def test_a_proxy_that_hangs_ends_with_the_time_out() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    proxy = LoopbackProxy(0, None)
    proxy.port = server.sockets[0].getsockname()[1]
    settings = ConnectionSettings(
        connect_timeout_seconds=0.3, network=NetworkSettings(proxy=f"http://127.0.0.1:{proxy.port}")
    )
    failures: list[Notice] = []
    failed = asyncio.Event()

    def on_notice(notice: Notice) -> None:
        if notice.kind is NoticeKind.SOCKET_FAILED:
            failures.append(notice)
            failed.set()

    connection = Connection(WS_URL, lambda socket_id, payload: None, on_notice=on_notice, settings=settings)
    stop = asyncio.Event()
    running = asyncio.create_task(connection.run(stop))
    await asyncio.wait_for(failed.wait(), 10)
    stop.set()
    await running
    server.close()
    assert "not open after 0.3 s" in str(failures[0])


def test_wrong_proxies_and_files_are_usage_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(UsageError, match=r"--exchange-ca-file: .* is unusable"):
            RestClient(RestSettings(network=NetworkSettings(ca_file=tmp_path / name)))
    for value in ("ftp://x", "http://u:p@ss/x@proxy:1", "http://proxy:port", "http://[::1", "http://proxy/path"):
        monkeypatch.setenv("ALL_PROXY", value)
        for make in (lambda: RestClient(RestSettings()), lambda: Connection(WS_URL, lambda socket_id, payload: None)):
            with pytest.raises(UsageError, match=r"ALL_PROXY: .* is not a proxy of the form") as caught:
                make()
            assert "ss/x" not in str(caught.value)


async def test_doctor_looks_at_the_proxy_and_goes_through_it(authority: trustme.CA, ca_file: Path) -> None:
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
