"""Which proxy a URL uses, from the setting and the environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.errors import UsageError
from backpack_streams.exchange.proxies import Proxy, proxy_for

WS, REST, PLAIN = "wss://ws.backpack.exchange", "https://api.backpack.exchange", "ws://10.1.2.3:18765"


def way(url: str, setting: str | None = None, **environment: str) -> str:
    proxy = proxy_for(url, setting, environment)
    return "direct" if proxy is None else proxy.address


@pytest.mark.parametrize("url", [WS, REST])
def test_the_websocket_and_rest_use_the_same_proxy(url: str) -> None:
    assert way(url) == "direct"
    assert way(url, HTTPS_PROXY="http://a:1") == way(url, https_proxy="a:1") == "http://a:1"
    assert way(url, ALL_PROXY="socks5h://a") == "socks5://a:1080"
    assert way(url, HTTPS_PROXY="http://a:1", ALL_PROXY="http://b:1") == "http://a:1"
    assert way(url, HTTP_PROXY="http://a:1") == "direct"
    assert way(url, HTTPS_PROXY="", ALL_PROXY=" ") == "direct"
    assert way(url, "https://p", HTTPS_PROXY="http://a:1", NO_PROXY="*") == "https://p:443"
    assert way(url, "none", HTTPS_PROXY="http://a:1") == "direct"


def test_a_request_header_is_not_taken_for_a_proxy() -> None:
    assert way(PLAIN, HTTP_PROXY="http://a") == way(PLAIN, http_proxy="http://a", REQUEST_METHOD="GET") == "http://a:80"
    assert way(PLAIN, HTTP_PROXY="http://evil", REQUEST_METHOD="GET") == "direct"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "a.localhost", "127.9.9.9", "[::ffff:127.0.0.1]"])
def test_the_local_machine_is_reached_directly(host: str) -> None:
    assert way(f"wss://{host}:1/x", ALL_PROXY="http://a") == "direct"


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("*", "a.example"),
        ("example", "a.example"),
        (".example", "a.example"),
        ("*.example", "a.example"),
        ("EXAMPLE", "a.Example"),
        ("a.example:443", "a.example"),
        ("a.example", "a.example."),
        ("x, a.example ,y", "a.example"),
        ("x a.example", "a.example"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:443", "10.1.2.3"),
        ("10.1.2.3/8", "10.1.2.3"),
        ("10.0.0.0/8", "[::ffff:10.1.2.3]"),
        ("fd00::/8", "[fd12::1]"),
        ("[fd00::]/8", "[fd12::1]"),
        ("[fd12::1]", "[fd12::1]"),
        ("[FD12::0:1]:443", "[fd12::1]"),
        ("fd12::1", "[fd12::1]"),
        ("[broken, 300.0.0.0/99, ::::/8, :, [], ]/, a.example", "a.example"),
    ],
)
def test_hosts_in_no_proxy_are_reached_directly(no_proxy: str, host: str) -> None:
    assert way(f"wss://{host}", ALL_PROXY="http://a", NO_PROXY=no_proxy) == "direct"
    assert way(f"https://{host}", ALL_PROXY="http://a", no_proxy=no_proxy) == "direct"


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("", "a.example"),
        ("ample", "a.example"),
        ("a.example:8443", "a.example"),
        ("b.a.example", "a.example"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("10.0.0.0/8", "10.example"),
        ("fd00::/8", "[fe00::1]"),
        ("[fd12::1]:80", "[fd12::1]"),
        ("0.0.0.0/0", "[fd12::1]"),
    ],
)
def test_hosts_not_in_no_proxy_use_the_proxy(no_proxy: str, host: str) -> None:
    assert way(f"wss://{host}", ALL_PROXY="http://a", NO_PROXY=no_proxy) == "http://a:80"


@given(
    st.text(st.sampled_from("[]:/.,*%@ 019af-"), max_size=20),
    st.sampled_from([WS, REST, PLAIN, "wss://[fd12::1%25eth0]:1"]),
)
def test_no_text_in_no_proxy_raises(no_proxy: str, url: str) -> None:
    assert way(url, ALL_PROXY="http://a", NO_PROXY=no_proxy) in ("direct", "http://a:80")


@given(st.text(min_size=1), st.text())
def test_a_login_survives_its_url(username: str, password: str) -> None:
    try:
        proxy = Proxy("http", "fd00::1", 3128, username, password)
        url = proxy.url
    except UnicodeEncodeError:  # half of a surrogate pair is not text
        return
    assert proxy_for(WS, url, {}) == proxy
    assert "@" not in repr(proxy)
    assert repr(proxy) == "Proxy(http://[fd00::1]:3128)"


@given(st.text(st.sampled_from("abc:/@#?[]. 1"), max_size=20))
def test_any_text_is_a_proxy_or_a_usage_error(text: str) -> None:
    try:
        proxy = proxy_for(WS, f"http://{text}", {})
    except UsageError:
        return
    assert proxy is not None
    assert proxy.host
