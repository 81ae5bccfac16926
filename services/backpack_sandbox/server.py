"""The sandbox as a whole: a WebSocket server, a REST server and a control server over one venue, and its flow.

>>> async with Sandbox(SandboxSettings(ws_port=0, rest_port=0, control_port=0)) as sandbox:  # doctest: +SKIP
...     print(sandbox.ws_url)
"""

import asyncio
import logging
import time
from typing import Any, Self

import picows

from backpack_sandbox.account import SyntheticAccount
from backpack_sandbox.account_keys import AccountKeys
from backpack_sandbox.control import ControlApi
from backpack_sandbox.faults import Fault, FaultBox, FaultError, parse_fault
from backpack_sandbox.flow import Flow, RecordedFlow, SyntheticFlow
from backpack_sandbox.http_port import http_port
from backpack_sandbox.hub import Hub
from backpack_sandbox.ledger import Ledger
from backpack_sandbox.recorded_venue import RecordedVenue
from backpack_sandbox.recording import read_recording
from backpack_sandbox.rest import RestApi
from backpack_sandbox.settings import SandboxSettings
from backpack_sandbox.sockets import Socket
from backpack_sandbox.synthetic import SyntheticVenue
from backpack_streams.errors import UsageError
from backpack_streams.runtime.listening import listening_sockets, url_host

logger = logging.getLogger(__name__)


class PortInUseError(UsageError):
    """A port of the sandbox is taken."""


def wall_clock_us() -> int:
    """Return the current time, µs since the Unix epoch."""
    return time.time_ns() // 1000


class Sandbox:
    """A stand-in for the exchange. Use as `async with`, or call `start` and `stop`.

    Raises:
        UsageError: an account key is invalid, or the recording does not exist.
        RecordingError: the recording cannot be read.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.faults = FaultBox()
        self.venue: SyntheticVenue | RecordedVenue
        self._ledger: Ledger | None = None
        now_us = wall_clock_us()
        if settings.recording is None:
            interest_us = int(settings.open_interest_seconds * 1_000_000)
            self._ledger = Ledger(settings.ledger_messages) if settings.ledger_messages else None
            self.venue = SyntheticVenue(
                settings.symbols, settings.seed, now_us, interest_us, settings.every_kind, self._ledger
            )
        else:
            recording = read_recording(settings.recording, now_us if settings.retime else None)
            self.venue = RecordedVenue(recording)
        self.hub = Hub(self.faults, lambda stream: self.venue.watch(stream, wall_clock_us()), self.venue.unwatch)
        self.flow: Flow
        self._account_keys = AccountKeys(settings.account_keys)
        self._account: SyntheticAccount | None = None
        if isinstance(self.venue, SyntheticVenue):
            if self._account_keys:
                act_us = int(settings.account_act_seconds * 1_000_000)
                self._account = SyntheticAccount(self.venue, settings.seed, now_us, act_us)
            self.flow = SyntheticFlow(self.venue, self.hub, settings, wall_clock_us, self._account)
        else:
            self.flow = RecordedFlow(recording, self.venue, self.hub, settings, wall_clock_us)
        self._rest_api = RestApi(self.venue, self.faults, settings, wall_clock_us, self.hub.snapshots_asked.add)
        self._control_api = ControlApi(
            self.venue,
            self.faults,
            self.state,
            self.flow.play,
            self.flow.finish,
            self.order_fault,
            self.account,
            self._ledger,
        )
        self._rest = http_port(self._rest_api.handle)
        self._control = http_port(self._control_api.handle)
        self._sockets: list[asyncio.Server] = []
        self._ports = (settings.ws_port, settings.rest_port, settings.control_port)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket."""
        return f"ws://{url_host(self.settings.host)}:{self._ports[0]}"

    @property
    def rest_url(self) -> str:
        """Base URL of the REST API."""
        return f"http://{url_host(self.settings.host)}:{self._ports[1]}"

    @property
    def control_url(self) -> str:
        """Base URL of the control API."""
        return f"http://{url_host(self.settings.host)}:{self._ports[2]}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on all three ports, and begin the flow when its time comes.

        Raises:
            PortInUseError: a port is taken; the message names it and its flag.
            FaultError: a fault in the settings is invalid.
        """
        orders = [parse_fault(text) for text in self.settings.faults]
        try:
            self._ports = (
                await self._listen("--ws-port", self._ports[0], self._start_sockets),
                await self._listen("--rest-port", self._ports[1], self._start_rest),
                await self._listen("--control-port", self._ports[2], self._start_control),
            )
            for order in orders:
                self.order_fault(order)
        except BaseException:  # any failure, a cancellation too: close what listens
            await self.stop()
            raise
        self._spawn(self.flow.run())
        logger.info("sandbox ready", extra={"ws": self.ws_url, "rest": self.rest_url, "control": self.control_url})

    async def _listen(self, flag: str, port: int, start: Any) -> int:
        try:
            return int(await start(port))
        except OSError as error:
            raise PortInUseError(
                f"sandbox cannot listen on {self.settings.host}:{port} ({error.strerror or error}); "
                f"stop what uses the port or choose another with {flag}"
            ) from error

    async def _start_sockets(self, port: int) -> int:
        def accept(_: picows.WSUpgradeRequest) -> Socket:
            return Socket(self.hub, self.faults, self.settings, wall_clock_us, self._account_keys, self._greeting)

        for each in listening_sockets(self.settings.host, port):
            self._sockets.append(await picows.ws_create_server(accept, sock=each, enable_auto_pong=False))
        return int(self._sockets[0].sockets[0].getsockname()[1])

    async def _start_rest(self, port: int) -> int:
        self._rest.start(self.settings.host, port)
        return self._rest.port

    async def _start_control(self, port: int) -> int:
        self._control.start(self.settings.host, port)
        return self._control.port

    async def stop(self) -> None:
        """Stop the flow, drop all connections, free the ports."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._sockets:
            self._sockets.pop().close()
        for socket in self._open_sockets():
            socket.drop()
        await self._rest.drop()
        await self._control.drop()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("sandbox flow failed", exc_info=task.exception())

    def _open_sockets(self) -> list[Socket]:
        return [outlet for outlet in self.hub.outlets if isinstance(outlet, Socket)]

    def state(self) -> dict[str, Any]:
        """Return the answer of `GET /state`."""
        return {
            "mode": "synthetic" if self.settings.recording is None else "recording",
            "playing": self.flow.playing,
            "finished": self.flow.finished,
            "frames_produced": self.venue.produced(),
            **self.hub.state(),
            "connections": [socket.shown() for socket in self._open_sockets()],
            "rest_requests": self._rest_api.requests,
            "faults": self.faults.shown(),
        }

    def account(self) -> dict[str, Any]:
        """Return the answer of `GET /account`: the messages of the account's streams, balances and positions."""
        return {} if self._account is None else self._account.shown()

    def _greeting(self, stream: str) -> list[bytes]:
        return [] if self._account is None else self._account.greeting(stream, wall_clock_us())

    def order_fault(self, order: dict[str, Any]) -> dict[str, Any]:
        """Start a fault from its JSON form, `{"fault": NAME, ...options}`. Return it as the control API shows it.

        Raises:
            FaultError: the fault is invalid.
        """
        fault = self.faults.add(order, wall_clock_us())
        symbol = fault.text("symbol")
        if fault.name in ("cut", "close"):
            for socket in self._chosen(fault.text("connection"), fault.count):
                (socket.drop if fault.name == "cut" else socket.close)()
        elif fault.name == "half-open" and fault.text("on") in (None, "open", "both"):
            for socket in self._chosen(fault.text("connection"), fault.count):
                socket.half_open = True
        elif fault.name == "refuse":
            self._spawn(self._refuse(fault.number_of("seconds", 5.0), fault.text("on") or "both"))
        elif fault.name == "burst":
            self._spawn(self.flow.burst(fault.count or 10_000, symbol))
        elif fault.name in ("delist", "list"):
            self._list(fault, symbol)
        elif fault.name in ("pace", "silence"):
            weight = 0 if fault.name == "silence" else fault.number_of("weight", 1)
            if symbol is None or weight < 0 or not self.venue.pace(symbol, weight):
                raise FaultError(
                    f"fault {fault.name} needs the symbol of a synthetic market, and a weight of 0 or more"
                )
            if fault.until_us is not None:
                self._spawn(self._wake(symbol, fault.number_of("seconds", 0)))
        return fault.shown()

    def _list(self, fault: Fault, symbol: str | None) -> None:
        if symbol is None:
            raise FaultError(f"fault {fault.name} needs a symbol")
        now_us = wall_clock_us()
        if fault.name == "list":
            first_id = int(fault.number_of("first_id", 0)) or None
            done = self.venue.list_market(symbol, now_us, first_id)
        else:
            done = self.venue.delist_market(symbol, now_us, fault.is_on("gone"))
        if not done:
            raise FaultError(f"{symbol} cannot be {fault.name}ed: see /api/v1/markets for what there is")

    async def _wake(self, symbol: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.venue.pace(symbol, 1)

    def _chosen(self, number: str | None, count: int | None) -> list[Socket]:
        sockets = [socket for socket in self._open_sockets() if number is None or str(socket.number) == number]
        return sockets[:count]

    async def _refuse(self, seconds: float, on: str) -> None:
        """Free the ports for a while: new connections are refused, open sockets and the control port stay."""
        if on in ("ws", "both"):
            while self._sockets:
                self._sockets.pop().close()
        if on in ("rest", "both"):
            await self._rest.drop()
            self._rest = http_port(self._rest_api.handle)
        await asyncio.sleep(seconds)
        if on in ("ws", "both"):
            await self._start_sockets(self._ports[0])
        if on in ("rest", "both"):
            await self._start_rest(self._ports[1])


__all__ = ["PortInUseError", "Sandbox", "SandboxSettings"]
