"""Subscriptions over real sockets: refused, ignored or forgotten ones, and handlers that fail or request more."""

import asyncio
import json
from time import monotonic
from typing import Any

import pytest

from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.session_actions import (
    CoverageEvent,
    NoticeKind,
    SocketProven,
    StreamsActive,
    StreamsInactive,
)
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings
from integration.misbehaving_server import PING, PONG, TEXT, Client, Peer, fail_on_frame, obey, serving, streams, until

pytestmark = pytest.mark.usefixtures("socket_class")


async def test_the_one_bad_stream_among_250_is_found() -> None:
    names = [f"depth.S{number}_USDC_PERP" for number in range(250)]
    bad = frozenset({"depth.S123_USDC_PERP"})

    async def behaviour(peer: Peer) -> None:
        await peer.obey(bad)

    def route(socket_id: int, payload: bytes) -> None:
        error = json.loads(payload)["error"]
        client.connection.error_frame(socket_id, error["code"], error["message"])

    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}", on_frame=route)
        client.connection.set_streams(streams(*names))
        async with client.running():
            await until(lambda: client.connection.rejected_streams == bad)
            await until(lambda: server.peers[0].streams == set(names) - bad)
    (notice,) = client.kinds(NoticeKind.STREAM_REJECTED)
    assert (notice.stream, notice.code) == ("depth.S123_USDC_PERP", 4006)


async def test_a_failing_handler_is_reported_and_costs_neither_socket_nor_other_frames() -> None:
    async def behaviour(peer: Peer) -> None:
        for payload in (b"good", b"bad", b"good"):
            peer.send(TEXT, payload)
            peer.send(TEXT, payload * 100)
        await peer.obey()

    failures: list[tuple[int, bytes, str]] = []
    taken: list[bytes] = []

    def take(_: int, payload: bytes) -> None:
        if payload.startswith(b"bad"):
            raise ValueError("no good")
        taken.append(payload)

    async with serving(behaviour) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}",
            on_frame=take,
            on_failure=lambda socket_id, payload, error: failures.append((socket_id, payload, str(error))),
        )
        async with client.running():
            await until(lambda: len(taken) == 4)
            assert client.connection.opens == client.connection.open_sockets == 1
    assert failures == [(1, b"bad", "no good"), (1, b"bad" * 100, "no good")]
    assert client.connection.frame_failures == 2


async def test_a_stream_that_is_silent_too_long_is_reported() -> None:
    deliveries: dict[str, int] = {}

    async def behaviour(peer: Peer) -> None:
        async def deliver_depth() -> None:
            while True:
                peer.send(TEXT, b'{"stream":"depth.X"}')
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            delivering = tasks.create_task(deliver_depth())
            try:
                await peer.obey()
            finally:
                delivering.cancel()

    async with serving(behaviour) as server:
        settings = ConnectionSettings(silence_check_seconds=0.05)
        client = Client(f"ws://127.0.0.1:{server.port}", settings=settings, deliveries=deliveries)
        client.connection.set_streams({"ticker.X": Expectation(0.5, 0.3), "depth.X": MAY_STAY_QUIET})
        async with client.running():
            await until(lambda: client.kinds(NoticeKind.STREAM_SILENT))
            assert client.connection.confirmed_streams == {"depth.X"}

            async def deliver() -> None:
                while True:
                    deliveries["ticker.X"] = deliveries.get("ticker.X", 0) + 1
                    await asyncio.sleep(0.02)

            delivering = asyncio.create_task(deliver())
            await until(lambda: client.kinds(NoticeKind.STREAM_RECOVERED))
            delivering.cancel()
            assert client.connection.confirmed_streams == {"depth.X", "ticker.X"}
    (silent,) = client.kinds(NoticeKind.STREAM_SILENT)
    assert (silent.stream, silent.never_delivered) == ("ticker.X", True)


async def test_ignored_subscriptions_are_not_confirmed_and_error_frames_do_not_count_as_delivery() -> None:
    pings: list[bytes] = []
    heeds = False

    async def behaviour(peer: Peer) -> None:
        is_subscribed = False
        while True:
            opcode, payload = await peer.receive()
            if opcode == TEXT:
                is_subscribed = heeds
            elif opcode == PING:
                peer.send(PONG, payload)
                peer.send(TEXT, b'{"stream":"depth.X"}' if is_subscribed else b'{"error":{"code":1,"message":"?"}}')
                pings.append(payload)

    def route(socket_id: int, payload: bytes) -> None:
        if b"error" in payload:
            client.connection.error_frame(socket_id, 1, "?")

    wanted = {"ticker.X": Expectation(1.5, 60), "depth.X": MAY_STAY_QUIET}
    async with serving(behaviour) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}",
            settings=ConnectionSettings(silence_check_seconds=0.05),
            session=SessionSettings(ping_interval_seconds=0.02),
            on_frame=route,
            deliveries={},
        )
        client.connection.set_streams(wanted)
        async with client.running():
            await until(lambda: len(pings) > 20)
            assert client.connection.confirmed_streams == frozenset()
            heeds = True
            await until(lambda: client.connection.confirmed_streams == wanted.keys())


async def test_every_pong_proves_the_socket_in_order_with_the_frames() -> None:
    async def behaviour(peer: Peer) -> None:
        while True:
            opcode, payload = await peer.receive()
            if opcode == PING:
                peer.send(TEXT, b'{"before": %d}' % int(payload))
                peer.send(PONG, payload)

    order: list[object] = []
    session = SessionSettings(ping_interval_seconds=0.05)
    async with serving(behaviour) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}", session=session, on_frame=lambda _, payload: order.append(payload)
        )
        client.connection._on_coverage = order.append
        client.connection.set_streams(streams("a"))
        begin = monotonic()
        async with client.running():
            await until(lambda: len(order) > 12)
    assert order[0] == b'{"before": 1}'
    assert [type(each) for each in order[1:3]] == [SocketProven, StreamsActive]
    assert [type(each) for each in order[3:11]] == [bytes, SocketProven] * 4
    through = [each.through for each in order if isinstance(each, SocketProven)]
    assert begin <= through[0] < through[-1] <= monotonic()


async def test_failing_listeners_stop_neither_checks_nor_reports() -> None:
    class Broken(dict[str, int]):
        def get(self, key: str, default: object = None) -> Any:  # type: ignore[override]  # it always raises
            raise ValueError(key)

    told: list[object] = []

    def fail(_: object) -> None:
        raise ValueError("no good")

    async with serving(obey) as server:
        settings = ConnectionSettings(silence_check_seconds=0.02)
        connection = Connection(
            f"ws://127.0.0.1:{server.port}",
            fail_on_frame,
            on_notice=fail,
            on_coverage=told.append,
            deliveries=Broken(),
            settings=settings,
            session_settings=SessionSettings(ping_interval_seconds=0.05),
        )
        connection.set_streams(streams("a"))
        stop = asyncio.Event()
        running = asyncio.create_task(connection.run(stop))
        await until(lambda: len([event for event in told if isinstance(event, SocketProven)]) >= 3, 10)
        stop.set()
        await running
    assert any(isinstance(event, StreamsInactive) for event in told)


@pytest.mark.parametrize("kind", [StreamsActive, SocketProven, StreamsInactive])
async def test_coverage_that_is_not_taken_ends_the_connection(kind: type[CoverageEvent]) -> None:
    """In whatever callback, and also if the event comes of the end."""

    def take(event: CoverageEvent) -> None:
        if isinstance(event, kind):
            raise ValueError("not taken")

    async with serving(obey) as server:
        connection = Connection(
            f"ws://127.0.0.1:{server.port}",
            fail_on_frame,
            on_coverage=take,
            session_settings=SessionSettings(ping_interval_seconds=0.05),
        )
        connection.set_streams(streams("a"))
        stop = asyncio.Event()
        running = asyncio.create_task(connection.run(stop))
        if kind is StreamsInactive:
            await until(lambda: connection.confirmed_streams)
            stop.set()
        with pytest.raises(ValueError, match="not taken"):
            await asyncio.wait_for(running, 5)
        assert connection.open_sockets == 0


async def test_a_failing_signature_is_retried_on_the_same_socket() -> None:
    made: list[int] = []

    def sign() -> list[str]:
        made.append(len(made))
        if len(made) == 1:
            raise ValueError("no key yet")
        return ["key", "signature", "1", "5000"]

    async def behaviour(peer: Peer) -> None:
        while True:
            opcode, payload = await peer.receive()
            if opcode == TEXT and not json.loads(payload)["signature"]:
                peer.send(TEXT, b'{"id":null,"error":{"code":4005,"message":"Invalid signature"}}')
            elif opcode == PING:
                peer.send(PONG, payload)

    def route(socket_id: int, payload: bytes) -> None:
        error = json.loads(payload)["error"]
        client.connection.error_frame(socket_id, error["code"], error["message"])

    session = SessionSettings(refused_signature_retry_seconds=0.1)
    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}", session=session, sign=sign, on_frame=route)
        client.connection.set_streams(streams("account.orderUpdate"))
        async with client.running():
            await until(lambda: client.connection.confirmed_streams == {"account.orderUpdate"})
        assert client.kinds(NoticeKind.SIGNATURE_REFUSED)
        assert client.connection.opens == 1


async def test_changes_made_by_a_handler_are_reported_after_the_current_event() -> None:
    """A handler drops a stream when it becomes active: the reports stay in order."""
    told: list[CoverageEvent] = []

    def on_coverage(event: CoverageEvent) -> None:
        told.append(event)
        if isinstance(event, StreamsActive):
            connection.set_streams(streams("a"))
            connection.doubt(["a"], "it is asked for in the middle of a report")

    async with serving(obey) as server:
        connection = Connection(f"ws://127.0.0.1:{server.port}", fail_on_frame, on_coverage=on_coverage)
        connection.set_streams(streams("a", "b"))
        stop = asyncio.Event()
        running = asyncio.create_task(connection.run(stop))
        await until(lambda: server.peers and server.peers[0].streams == {"a"} and len(told) >= 4)
        stop.set()
        await running
    changes = [event for event in told if not isinstance(event, SocketProven)]
    assert isinstance(changes[0], StreamsActive)
    assert [(event.streams, event.cause) for event in changes[1:3] if isinstance(event, StreamsInactive)] == [
        (("b",), "UNSUBSCRIBED"),
        (("a",), "SILENT"),
    ]


async def test_an_unsubscribe_is_repeated_if_the_stream_still_delivers() -> None:
    async with serving(obey) as server:
        client = Client(f"ws://127.0.0.1:{server.port}")
        client.connection.set_streams(streams("a"))
        async with client.running():
            await until(lambda: client.connection.confirmed_streams == {"a"})
            server.peers[0].streams.add("trade.OLD")
            client.connection.unwanted_frame("trade.OLD")
            await until(lambda: server.peers[0].streams == {"a"})
