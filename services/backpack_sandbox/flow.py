"""Produces frames over time: the synthetic market at its rate, a recording at its speed, both with backpressure."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from backpack_sandbox.account import SyntheticAccount
from backpack_sandbox.hub import Hub
from backpack_sandbox.recorded_venue import RecordedVenue
from backpack_sandbox.recording import Recording
from backpack_sandbox.settings import SandboxSettings
from backpack_sandbox.sockets import Socket
from backpack_sandbox.synthetic import SyntheticVenue

_CHUNK_FRAMES = 256
_SHORTEST_WAIT_SECONDS = 0.002
_LONGEST_WAIT_SECONDS = 0.01
_IDLE_SECONDS = 0.005


class Flow(Protocol):
    """What the sandbox needs of a flow.

    Attributes:
        playing: whether it has begun and is not over.
        finished: whether all frames are made.
    """

    playing: bool
    finished: bool

    def play(self) -> None:
        """Begin now, whatever the setting `start` says."""

    def finish(self) -> None:
        """Make no more frames, as if all were made."""

    async def run(self) -> None:
        """Make frames until cancelled."""

    async def burst(self, count: int, symbol: str | None) -> None:
        """Make frames at once, at full speed.

        Args:
            count: how many.
            symbol: the market, None for all. A recording ignores it.
        """


class Beginning:
    """Decides when the flow begins: at once, when its audience is complete, or on request.

    The audience is complete once each of `streams` has a subscriber and each of `snapshots` was requested: a client
    that requests a snapshot late would find its book changed. After the first subscription, a quiet time of
    `settle_seconds` also suffices.

    Args:
        hub: its subscriptions and requested snapshots are watched.
        settings: the start, and the quiet time in seconds.
        streams: full names of the streams to wait for.
        snapshots: symbols whose `/depth` must have been requested.
    """

    def __init__(self, hub: Hub, settings: SandboxSettings, streams: set[str], snapshots: set[str]) -> None:
        self._snapshots = snapshots
        self._hub = hub
        self._settings = settings
        self._streams = streams
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Begin now."""
        self._asked.set()

    async def wait(self) -> None:
        """Return when the flow must begin. Without a timeout; checks every 5 ms for subscriptions."""
        start = self._settings.effective_start
        if start == "immediately":
            return
        if start == "control":
            await self._asked.wait()
            return
        seen, changed_at = (0, 0), 0.0
        while not self._asked.is_set():
            here = self._hub.subscriptions_made, len(self._hub.snapshots_asked)
            if here != seen:
                seen, changed_at = here, time.monotonic()
            all_here = self._streams <= self._hub.subscribed() and self._snapshots <= self._hub.snapshots_asked
            if here[0] and (all_here or time.monotonic() - changed_at >= self._settings.settle_seconds):
                return
            await asyncio.sleep(_IDLE_SECONDS)


async def all_writable(hub: Hub) -> None:
    """Wait until the slowest subscriber has read what was written."""
    for outlet in hub.outlets:
        if isinstance(outlet, Socket) and not outlet.writable.is_set():
            await outlet.writable.wait()


class SyntheticFlow:
    """Depth frames at `rate` per second over all markets until `frames` are made; clock-driven streams all the time.

    Args:
        venue: makes the frames.
        hub: publishes them.
        settings: the rate, the number of frames and the start.
        now_us: returns the wall clock, µs since the Unix epoch.
        account: makes the frames of the private streams; None without registered keys.
    """

    def __init__(
        self,
        venue: SyntheticVenue,
        hub: Hub,
        settings: SandboxSettings,
        now_us: Callable[[], int],
        account: SyntheticAccount | None = None,
    ) -> None:
        self._venue = venue
        self._account = account
        self._hub = hub
        self._now_us = now_us
        self._rate = settings.effective_rate
        self._left = settings.frames
        self._beginning = Beginning(hub, settings, {f"depth.{symbol}" for symbol in venue.markets}, set())
        self.playing = False
        self.finished = False

    def play(self) -> None:
        """Begin now."""
        self._beginning.ask()

    def finish(self) -> None:
        """Make no more depth frames."""
        self._left = 0
        self.finished, self.playing = True, False

    async def run(self) -> None:
        """Make frames until cancelled."""
        releasing = asyncio.get_running_loop().create_task(self._release())
        try:
            await self._beginning.wait()
            self.playing = True
            await (self._at_full_speed() if self._rate == "max" else self._at_rate(float(self._rate)))
        finally:
            releasing.cancel()

    async def _release(self) -> None:
        """Release what faults hold back, also while the flow waits or is over."""
        while True:
            await asyncio.sleep(_IDLE_SECONDS)
            self._hub.release_held(self._now_us())
            self._hub.flush()

    def _make(self, count: int) -> None:
        """Make up to `count` depth frames, fewer if `frames` is reached."""
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        now_us = self._now_us()
        self._hub.publish(self._venue.advance(count, now_us), now_us)
        if self._left == 0 and not self.finished:
            self.finished, self.playing = True, False

    def _tick(self) -> None:
        now_us = self._now_us()
        self._hub.publish(self._venue.by_the_clock(now_us), now_us)
        if self._account is not None:
            self._hub.publish(self._account.by_the_clock(now_us, self._hub.subscribed), now_us)
        self._hub.flush()

    async def _at_rate(self, rate: float) -> None:
        wait = min(_LONGEST_WAIT_SECONDS, max(_SHORTEST_WAIT_SECONDS, 1 / rate))
        began = time.monotonic()
        made = 0
        while True:
            due = int((time.monotonic() - began) * rate) - made
            if due > rate + 1:  # the process was suspended: make up for no more than a second
                began, made, due = time.monotonic(), 0, 0
            if due > 0 and not self.finished:
                made += due
                self._make(due)
            self._tick()
            await asyncio.sleep(wait)

    async def _at_full_speed(self) -> None:
        """Run as fast as the slowest subscriber reads; wait while there is no subscriber."""
        while True:
            if self.finished or not self._hub.subscribed():
                self._tick()
                await asyncio.sleep(_IDLE_SECONDS)
                continue
            self._make(_CHUNK_FRAMES)
            self._tick()
            await all_writable(self._hub)
            await asyncio.sleep(0)

    async def burst(self, count: int, symbol: str | None) -> None:
        """Make frames at full speed, in addition to the ordinary rate. They do not count towards `frames`.

        Args:
            count: number of depth frames; the trades and best prices that follow from them come on top.
            symbol: the market, None for all by turns.
        """
        while count > 0:
            now_us = self._now_us()
            self._hub.publish(self._venue.advance(min(count, _CHUNK_FRAMES), now_us, symbol), now_us)
            self._hub.flush()
            count -= _CHUNK_FRAMES
            await all_writable(self._hub)
            await asyncio.sleep(0)


class RecordedFlow:
    """Plays a recording once, at its own pace times the speed, or as fast as the slowest subscriber reads.

    Args:
        recording: the frames in order of receipt.
        venue: takes each frame, so that REST answers as of it.
        hub: publishes the frames.
        settings: the speed (`rate`) and the start.
        now_us: returns the wall clock, µs since the Unix epoch.
    """

    def __init__(
        self,
        recording: Recording,
        venue: RecordedVenue,
        hub: Hub,
        settings: SandboxSettings,
        now_us: Callable[[], int],
    ) -> None:
        self._frames = recording.frames
        self._venue = venue
        self._hub = hub
        self._now_us = now_us
        self._rate = settings.effective_rate
        self._beginning = Beginning(hub, settings, recording.public_streams, set(recording.snapshots))
        self._next = 0
        self.playing = False
        self.finished = False

    def play(self) -> None:
        """Begin now."""
        self._beginning.ask()

    def finish(self) -> None:
        """Stop playing."""
        self._next = len(self._frames)

    async def run(self) -> None:
        """Play to the end, then keep the sockets open until cancelled."""
        loop = asyncio.get_running_loop()
        await self._beginning.wait()
        self.playing = True
        began, first_us = loop.time(), self._frames[0].at_us if self._frames else 0
        while self._next < len(self._frames):
            if self._rate == "max":
                self._play(_CHUNK_FRAMES)
                await all_writable(self._hub)
                await asyncio.sleep(0)
                continue
            played_us = first_us + int((loop.time() - began) * float(self._rate) * 1_000_000)
            while self._next < len(self._frames) and self._frames[self._next].at_us <= played_us:
                self._play(1)
            await asyncio.sleep(_SHORTEST_WAIT_SECONDS)
            self._let_go()
        self.finished, self.playing = True, False
        while True:
            self._let_go()
            await asyncio.sleep(_IDLE_SECONDS)

    def _let_go(self) -> None:
        self._hub.release_held(self._now_us())
        self._hub.flush()

    def _play(self, count: int) -> None:
        now_us = self._now_us()
        for frame in self._frames[self._next : self._next + count]:
            self._next += 1
            if frame.stream is None:
                self._hub.broadcast(frame.payload)
            elif not self._venue.closed_to(frame):
                self._venue.play(frame)
                self._hub.publish(((frame.stream, frame.payload),), now_us)
        self._let_go()

    async def burst(self, count: int, symbol: str | None) -> None:
        """Play the next frames at once, whatever their times.

        Args:
            count: how many, error frames included; fewer if the recording ends.
            symbol: ignored: a recording is played in its order.
        """
        while count > 0 and self._next < len(self._frames):
            self._play(min(count, _CHUNK_FRAMES))
            count -= _CHUNK_FRAMES
            await all_writable(self._hub)
            await asyncio.sleep(0)
