"""One port on the addresses of both families."""

import errno
import socket
from contextlib import ExitStack, closing

import pytest

from backpack_streams.runtime import listening
from backpack_streams.runtime.listening import listening_sockets, url_host


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def answering(host: str) -> set[str]:
    """The loopback addresses that accept connections while `host` is listened on."""
    with ExitStack() as held:
        sockets = [held.enter_context(each) for each in listening_sockets(host, 0)]
        [port] = {each.getsockname()[1] for each in sockets}
        found = set()
        for address in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((address, port), 5).close()
            except OSError:
                continue
            found.add(address)
    return found


@NEEDS_IPV6
@pytest.mark.parametrize("host", ["*", "::", "localhost", "127.0.0.1,::1", "::1, 127.0.0.1"])
def test_both_families_are_listened_on(host: str) -> None:
    assert answering(host) == {"127.0.0.1", "::1"}


@NEEDS_IPV6
def test_an_address_of_one_family_listens_only_on_that_family() -> None:
    assert answering("0.0.0.0") == answering("127.0.0.1") == {"127.0.0.1"}
    assert answering("::1") == {"::1"}


@pytest.mark.parametrize("host", ["*", "::", "localhost"])
def test_a_machine_without_ipv6_listens_on_ipv4(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listen = listening._listen

    def without_ipv6(family: int, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return listen(family, address, port)

    monkeypatch.setattr(listening, "_listen", without_ipv6)
    assert answering(host) == {"127.0.0.1"}
    with pytest.raises(OSError, match="not supported"):
        listening_sockets("127.0.0.1,::1", 0)


def test_a_machine_without_ipv4_listens_on_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    listen = listening._listen

    def without_ipv4(family: int, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return listen(family, address, port)

    monkeypatch.setattr(listening, "_listen", without_ipv4)
    for host in ("*", "localhost"):
        for each in listening_sockets(host, 0):
            each.close()


@NEEDS_IPV6
def test_a_port_taken_in_one_family_is_in_use_and_nothing_stays_open() -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as taken:
        port = taken.getsockname()[1]
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                listening_sockets("localhost", port)
        listening_sockets("127.0.0.1", port)[0].close()


@pytest.mark.parametrize(
    ("host", "called"),
    [
        ("*", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
        ("10.0.0.1, ::1", "10.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_the_host_in_the_url_of_a_client(host: str, called: str) -> None:
    assert url_host(host) == called
