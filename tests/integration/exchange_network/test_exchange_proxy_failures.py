"""Proxies that refuse, fail, hang or are configured wrongly: the error messages, and the retries."""

import asyncio
from pathlib import Path

import pytest
import trustme

from backpack_streams.errors import UsageError
from backpack_streams.exchange import proxies as proxies_of_exchange
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.session_actions import Notice, NoticeKind
from integration.exchange_network.tls_exchange import LOGIN, WS_URL, asked, both, exchange, opened
from proxies import LoopbackProxy, http_proxy

pytestmark = pytest.mark.usefixtures("socket_class")


async def test_a_refused_login_is_reported_without_the_password(authority: trustme.CA, ca_file: Path) -> None:
    async with exchange(authority) as port, http_proxy(port, LOGIN) as proxy:
        url = f"http://trader:wr%40ng@127.0.0.1:{proxy.port}"
        socket_words, rest_words = await both(NetworkSettings(proxy=url, ca_file=ca_file))
        assert f"the proxy http://127.0.0.1:{proxy.port} answers:" in socket_words
        assert "407" in socket_words
        assert "set its user and password (--exchange-proxy)" in socket_words
        assert "407" in rest_words
        assert not any(part in socket_words + rest_words for part in ("trader", "wr%40ng", "wr@ng"))


async def test_an_unavailable_proxy_is_named() -> None:
    network = NetworkSettings(proxy="http://127.0.0.1:9")
    assert "through the proxy http://127.0.0.1:9 of --exchange-proxy: connection refused" in await opened(network)


def test_socks_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_a_proxy_that_fails_for_a_moment_is_tried_again(
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


async def test_a_proxy_that_hangs_ends_with_a_timeout() -> None:
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
