"""Addresses are raced: dead ones, refused ones and families that this machine lacks cost no time."""

import asyncio
import socket
from collections.abc import Iterator
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams import dialing
from backpack_streams.dialing import Address, interleaved, race

NO_SUCH_FAMILY = 12_345
DELAY_SECONDS = 0.05


def address(port: int, family: int = socket.AF_INET) -> Address:
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def refused() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


async def seconds_to_reach(server: socket.socket, *before: Address) -> float:
    port = server.getsockname()[1]
    began = monotonic()
    with await race([*before, address(port)], DELAY_SECONDS) as winner:
        assert winner.getpeername()[1] == port
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "dial"] == []
    return monotonic() - began


async def test_dead_addresses_cost_a_delay_each(listening: socket.socket, dead: int) -> None:
    assert await seconds_to_reach(listening, address(dead), address(dead)) < 1.0


async def test_a_failure_is_followed_by_the_next_try_at_once(listening: socket.socket, refused: int) -> None:
    port = listening.getsockname()[1]
    before = [address(1, NO_SUCH_FAMILY), address(refused), address(1, NO_SUCH_FAMILY)]
    async with asyncio.timeout(5):
        with await race([*before, address(port)], 60.0) as winner:
            assert winner.getpeername()[1] == port


async def test_a_slow_address_may_still_win(
    listening: socket.socket, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    port = listening.getsockname()[1]
    connect = loop.sock_connect

    async def slowly(connecting: socket.socket, where: Any) -> None:
        if where[1] == port:
            await asyncio.sleep(3 * DELAY_SECONDS)
        await connect(connecting, where)

    monkeypatch.setattr(loop, "sock_connect", slowly)
    with await race([address(port), address(refused)], DELAY_SECONDS) as winner:
        assert winner.getpeername()[1] == port


async def test_when_none_answers_the_refusal_is_told(refused: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await race([address(1, NO_SUCH_FAMILY), address(refused), address(1, NO_SUCH_FAMILY)], DELAY_SECONDS)
    with pytest.raises(OSError, match="family"):
        await race([address(1, NO_SUCH_FAMILY)], DELAY_SECONDS)
    with pytest.raises(OSError, match="no address"):
        await race([], DELAY_SECONDS)


async def test_a_cancelled_race_leaves_no_try_behind(dead: int) -> None:
    racing = asyncio.create_task(race([address(dead), address(dead)], DELAY_SECONDS))
    await asyncio.sleep(2 * DELAY_SECONDS)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert [task for task in asyncio.all_tasks() if task.get_name() == "dial"] == []


async def test_all_that_connect_but_the_first_are_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    class Kept(socket.socket):
        def __init__(self, *words: int) -> None:
            super().__init__(*words)
            made.append(self)

    monkeypatch.setattr(dialing.socket, "socket", Kept)
    target = address(listening.getsockname()[1])
    winner = await race([target] * 5, 0.0)
    assert [each for each in made if each.fileno() != -1] == [winner]
    winner.close()


@given(st.lists(st.tuples(st.sampled_from([socket.AF_INET, socket.AF_INET6]), st.integers(1, 9))))
def test_families_take_turns_and_keep_their_order(wanted: list[tuple[int, int]]) -> None:
    addresses = [address(port, family) for family, port in wanted]
    mixed = interleaved(addresses)
    assert sorted(mixed) == sorted(addresses)
    assert mixed[:1] == addresses[:1]
    for family in (socket.AF_INET, socket.AF_INET6):
        assert [each for each in mixed if each[0] == family] == [each for each in addresses if each[0] == family]
    counts = {family: sum(each[0] == family for each in addresses) for family in (socket.AF_INET, socket.AF_INET6)}
    start = mixed[: 2 * min(counts.values())]
    assert all(first[0] != second[0] for first, second in pairwise(start))
