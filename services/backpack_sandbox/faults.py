"""Faults on demand. `FaultBox` keeps the active ones and decides what happens to a frame or an answer. Sans I/O."""

from typing import Any

from backpack_sandbox.fault_orders import (
    FRAME_FAULTS,
    IMMEDIATE_FAULTS,
    Delivery,
    Fault,
    FaultError,
    new_fault,
    parse_fault,
)
from backpack_sandbox.frame_fates import FATES, HELD

__all__ = ["Delivery", "Fault", "FaultBox", "FaultError", "parse_fault"]


class FaultBox:
    """All active faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._number = 0

    @property
    def busy(self) -> bool:
        """Whether any fault is active or still holds frames back."""
        return bool(self._faults)

    def add(self, order: dict[str, Any], now_us: int) -> Fault:
        """Start a fault, `{"fault": NAME, ...options}`. One that acts at once is only returned: the caller carries it out.

        Args:
            order: the name and the options, as text or JSON values.
            now_us: wall clock, µs since the Unix epoch.

        Raises:
            FaultError: there is no such fault or option, or a value is invalid.
        """
        self._number += 1
        fault = new_fault(self._number, order, now_us)
        is_done_at_once = fault.name in IMMEDIATE_FAULTS
        if fault.name == "half-open":
            is_done_at_once = fault.text("on") not in ("new", "both")
        if not is_done_at_once:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults; the next release delivers the frames held back."""
        for fault in self._faults:
            fault.until_us = 0
            fault.count = 0 if fault.count is not None else None

    def shown(self) -> list[dict[str, Any]]:
        """Return the active faults as the control API shows them."""
        return [fault.shown() for fault in self._faults]

    def pass_on(self, stream: str, payload: bytes, now_us: int) -> list[Delivery]:
        """Return the frames to deliver in place of one frame; the faults act one after another, oldest first.

        Args:
            stream: full name of the frame's stream.
            payload: text of the frame.
            now_us: wall clock, µs since the Unix epoch.

        Returns:
            The frames in order; none if a fault dropped the frame or holds it back.
        """
        deliveries = [Delivery(stream, payload)]
        for fault in list(self._faults):
            if fault.name not in FRAME_FAULTS or not fault.names(stream):
                continue
            deliveries = [out for one in deliveries for out in self._through(fault, one, now_us)]
        return deliveries

    def _through(self, fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
        if fault.held and fault.name != "reorder":
            return HELD[fault.name](fault, frame, now_us)  # never overtake a frame that is held back
        if not self._active(fault, now_us):
            return [frame]
        if fault.name == "reorder":
            return self._reorder(fault, frame)
        self._hit(fault)
        return FATES[fault.name](fault, frame, now_us)

    def _reorder(self, fault: Fault, frame: Delivery) -> list[Delivery]:
        for position, (_, earlier) in enumerate(fault.held):
            if earlier.stream == frame.stream:
                del fault.held[position]
                self._hit(fault)
                return [frame, earlier]
        if fault.held:
            return [frame]
        fault.held.append((0, frame))
        return []

    def release(self, now_us: int) -> list[Delivery]:
        """Return the frames whose time has come; end faults that are over.

        Args:
            now_us: wall clock, µs since the Unix epoch.
        """
        released: list[Delivery] = []
        for fault in list(self._faults):
            over = fault.until_us is not None and now_us >= fault.until_us
            spent = fault.count == 0
            if fault.held and fault.name != "reorder":
                due = [one for at_us, one in fault.held if at_us <= now_us or fault.until_us == 0]
                fault.held = fault.held[len(due) :]
                released += due
            elif fault.held and (over or spent):
                released += [one for _, one in fault.held]
                fault.held = []
            if (over or spent) and not fault.held:
                self._faults.remove(fault)
        return released

    def take(self, name: str, now_us: int, symbol: str | None = None, path: str | None = None) -> Fault | None:
        """Return the oldest active fault of this name that applies to this symbol or path, and count a hit; None if there is none.

        Args:
            name: one of `FAULTS`.
            now_us: wall clock, µs since the Unix epoch.
            symbol: symbol of the request; None matches only faults without the option `symbol`.
            path: path of the request; the option `path` is a prefix of it.
        """
        for fault in self._faults:
            prefix = fault.text("path")
            if (
                fault.name == name
                and self._active(fault, now_us)
                and fault.text("symbol") in (None, symbol)
                and (prefix is None or (path is not None and path.startswith(prefix)))
            ):
                self._hit(fault)
                return fault
        return None

    def take_any(self, name: str, now_us: int) -> Fault | None:
        """Return the active fault of this name, whatever its restrictions, and count a hit; None if there is none.

        Args:
            name: one of `FAULTS`.
            now_us: wall clock, µs since the Unix epoch.
        """
        for fault in self._faults:
            if fault.name == name and self._active(fault, now_us):
                self._hit(fault)
                return fault
        return None

    def take_for(self, name: str, now_us: int, streams: list[str]) -> Fault | None:
        """Return the active fault of this name that applies to one of the streams, and count a hit; None if there is none.

        Args:
            name: one of `FAULTS`.
            now_us: wall clock, µs since the Unix epoch.
            streams: full names of streams. However many of them the fault applies to, one hit is counted.
        """
        for fault in self._faults:
            if fault.name == name and self._active(fault, now_us) and any(map(fault.names, streams)):
                self._hit(fault)
                return fault
        return None

    def active(self, name: str, now_us: int) -> bool:
        """Whether a fault of this name is active, whatever its restrictions. Counts no hit."""
        return any(fault.name == name and self._active(fault, now_us) for fault in self._faults)

    def clock_offset_us(self, now_us: int) -> int:
        """Return by how many µs `clock-offset` sets the exchange's clock ahead of ours (option `offset`: seconds, default 600)."""
        offsets = (
            fault.number_of("offset", 600.0)
            for fault in self._faults
            if fault.name == "clock-offset" and self._active(fault, now_us)
        )
        return int(sum(offsets) * 1_000_000)

    @staticmethod
    def _active(fault: Fault, now_us: int) -> bool:
        return fault.count != 0 and (fault.until_us is None or now_us < fault.until_us)

    @staticmethod
    def _hit(fault: Fault) -> None:
        fault.hits += 1
        if fault.count is not None:
            fault.count -= 1
