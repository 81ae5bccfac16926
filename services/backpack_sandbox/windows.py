"""Collects the changes of a market between two frames of an aggregated depth stream."""

from collections.abc import Mapping

from backpack_sandbox.frames import Frame, FrameWriter
from backpack_sandbox.streams import DEPTH_WINDOWS_MS


class DepthWindow:
    """One of `200ms`, `600ms`, `1000ms` of one market: the last quantity of each level that changed in the window."""

    def __init__(self, window: str, now_us: int) -> None:
        self.window = window
        self._length_us = DEPTH_WINDOWS_MS[window] * 1000
        self._due_us = now_us + self._length_us
        self._first = 0
        self._last = 0
        self._engine_us = 0
        self._asks: dict[int, int] = {}
        self._bids: dict[int, int] = {}

    def add(self, first: int, last: int, engine_us: int, asks: Mapping[int, int], bids: Mapping[int, int]) -> None:
        """Add one realtime update."""
        if not self._first:
            self._first = first
        self._last, self._engine_us = last, engine_us
        self._asks.update(asks)
        self._bids.update(bids)

    def due(self, now_us: int, writer: FrameWriter) -> Frame | None:
        """Return the window's frame if it is due; None before that, or if nothing changed."""
        if now_us < self._due_us:
            return None
        self._due_us = now_us + self._length_us
        if not self._first:
            return None
        times = max(now_us, self._engine_us), self._engine_us
        ids = self._first, self._last
        frame = writer.window_depth(self.window, times, ids, self._asks, self._bids)
        self._first, self._asks, self._bids = 0, {}, {}
        return frame
