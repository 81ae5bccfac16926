"""The subscriptions of one socket: frames in batches, each followed by a Ping whose Pong shows that the exchange took it.

The exchange acknowledges nothing, and its errors name neither the request nor the stream. But it handles frames in order, so the Pong to a
Ping after a batch is a barrier: the batch is confirmed if no error came before it, and an error belongs to the oldest outstanding batch.
Only an error about a stream name starts a search: the batch is subscribed again in halves (a repeated SUBSCRIBE is harmless) down to single
streams, and one that fails alone twice is rejected. All other errors are attributed to no stream (see `retries`).

Private streams have frames of their own, each signed when it is sent. An error that is not about a stream is then about the signature, so
the whole frame is refused without a search.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Literal

from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.retries import Retries
from backpack_streams.exchange.session_actions import Action, SendText
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.streams import is_private
from backpack_streams.exchange.verdicts import Confirmed, Refused, Rejected, SignatureRefused, Unattributed, Verdict

Sign = Callable[[], Sequence[str]]
"""Returns `[verifyingKey, signature, timestamp, window]`, valid from the moment of the call."""

_ABOUT_A_STREAM = frozenset({4006, 4008})
"""`Invalid stream` and `Invalid depth window`: the observed codes that concern a stream name."""
_Method = Literal["SUBSCRIBE", "UNSUBSCRIBE"]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Part of a batch in which a bad name is searched; `number` is that of the batch, `failed_alone` whether it has failed alone before."""

    names: tuple[str, ...]
    number: int
    failed_alone: bool = False


@dataclass(slots=True)
class _Batch:
    number: int
    method: _Method
    names: tuple[str, ...]
    sent_at: float
    barrier: int
    piece: _Piece | None
    error: tuple[int, str] | None = None
    is_surely_its_own: bool = True

    @property
    def is_signed(self) -> bool:
        return self.method == "SUBSCRIBE" and is_private(self.names[0])


class SocketSubscriptions:
    """The subscriptions of one socket. Sans I/O; times are seconds of the caller's clock."""

    def __init__(
        self,
        socket_id: int,
        settings: SessionSettings,
        liveness: Liveness,
        names: Iterable[str],
        *,
        sign: Sign | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare.

        Args:
            socket_id: the number of the socket.
            settings: bounds and times.
            liveness: the Pings of the socket.
            names: the wanted streams.
            sign: returns the signature for private streams; without it they are sent unsigned.
            rng: makes the jitter repeatable.
        """
        self._socket_id = socket_id
        self._settings = settings
        self._liveness = liveness
        self._sign = sign
        self._to_subscribe: dict[str, None] = dict.fromkeys(names)
        self._to_unsubscribe: dict[str, None] = {}
        self._wanted = set(self._to_subscribe)
        self._asked_in: dict[str, int] = {}
        self._confirmed: dict[str, float] = {}
        self._confirmed_in: dict[str, int] = {}
        self._newest_answered = 0
        self._search: deque[_Piece] = deque()
        self._retries = Retries(settings, rng)
        self._outstanding: deque[_Batch] = deque()
        self._next_send_at = float("-inf")
        self._sequence = 0

    # State.

    @property
    def wanted(self) -> Set[str]:
        """Streams that are requested until they are confirmed."""
        return self._wanted

    @property
    def confirmed(self) -> Mapping[str, float]:
        """Wanted streams whose subscription the exchange has taken, each with the time of its confirmation."""
        return MappingProxyType(self._confirmed)

    @property
    def confirmed_early(self) -> list[str]:
        """Confirmed streams that were not in the newest answered SUBSCRIBE."""
        return [name for name in self._confirmed if self._confirmed_in[name] != self._newest_answered]

    def due_at(self) -> float | None:
        """When `send` has something to do next; None if only an event can change anything."""
        has_work = self._to_unsubscribe or self._to_subscribe or (self._search and not self._outstanding)
        work_at = self._next_send_at if has_work else self._retries.due_at()
        if work_at is None:
            return None
        stall_at = self._next_send_at if self._has_room() else self._stall_at()
        return max(work_at, self._next_send_at, stall_at)

    # Commands.

    def add(self, name: str) -> None:
        """Want this stream."""
        if name in self._wanted:
            return
        self._wanted.add(name)
        # Requested again even if its UNSUBSCRIBE was not sent yet: the frame that requested it may have been refused.
        self._to_unsubscribe.pop(name, None)
        self._to_subscribe[name] = None

    def remove(self, name: str) -> None:
        """Stop wanting this stream."""
        was_asked = name in self._asked_in
        self._forget(name)
        if was_asked:
            self._to_unsubscribe[name] = None

    def reject(self, name: str) -> None:
        """Stop wanting this stream without an UNSUBSCRIBE: the exchange does not know it."""
        self._forget(name)
        self._to_unsubscribe.pop(name, None)
        self._asked_in.pop(name, None)

    def resubscribe(self, name: str) -> None:
        """Unsubscribe and resubscribe a stream that was confirmed and does not deliver."""
        if self.distrust(name):
            self._to_unsubscribe[name] = None
            self._to_subscribe[name] = None

    def distrust(self, name: str) -> bool:
        """Treat a stream as unconfirmed; return whether it was confirmed."""
        return self._confirmed.pop(name, None) is not None

    def ask_again(self, name: str) -> None:
        """Repeat the SUBSCRIBE of a confirmed stream; its present subscription stays."""
        if name in self._confirmed:
            self._to_subscribe[name] = None

    def ask_anew(self, name: str) -> None:
        """Repeat the SUBSCRIBE of a confirmed stream, and treat it as unconfirmed until that is answered."""
        if self.distrust(name):
            self._to_subscribe[name] = None

    def unsubscribe(self, name: str) -> None:
        """Repeat the UNSUBSCRIBE of a stream that is not wanted and still delivers."""
        if name not in self._wanted:
            self._to_unsubscribe[name] = None

    # Sending.

    def send(self, now: float) -> list[Action]:
        """Return the frames to send now: spaced, and only a few ahead of their Pongs."""
        actions: list[Action] = []
        while now >= self._next_send_at and (self._has_room() or now >= self._stall_at()):
            batch = self._next_batch(now)
            if batch is None:
                break
            frame: dict[str, str | Sequence[str]] = {"method": batch.method, "params": batch.names}
            if batch.is_signed and self._sign is not None:
                frame["signature"] = self._sign()
            actions.append(SendText(self._socket_id, json.dumps(frame, separators=(",", ":"))))
            batch.barrier, ping = self._liveness.ping(now)
            actions.append(ping)
            self._outstanding.append(batch)
            self._next_send_at = now + self._settings.subscribe_spacing_seconds
        return actions

    def restart_barrier_clock(self, now: float) -> None:
        """Restart the wait for Pongs: nothing was read until now."""
        for batch in self._outstanding:
            batch.sent_at = now

    def _has_room(self) -> bool:
        is_searching = bool(self._search) or any(batch.piece for batch in self._outstanding)
        return len(self._outstanding) < (1 if is_searching else self._settings.outstanding_batches)

    def _stall_at(self) -> float:
        """When to continue without the awaited Pong."""
        return self._outstanding[0].sent_at + self._settings.barrier_timeout_seconds

    def _next_batch(self, now: float) -> _Batch | None:
        while self._search and not self._outstanding:
            piece = self._search.popleft()
            names = self._still_asked_in(piece.number, piece.names)
            if names:
                return self._subscribe(names, now, piece)
        if self._to_unsubscribe:
            names = self._take(self._to_unsubscribe)
            for name in names:
                self._asked_in.pop(name, None)
            return self._batch("UNSUBSCRIBE", names, now)
        names = self._take(self._to_subscribe) if self._to_subscribe else self._retries.take(now)
        return self._subscribe(names, now) if names else None

    def _subscribe(self, names: tuple[str, ...], now: float, piece: _Piece | None = None) -> _Batch:
        batch = self._batch("SUBSCRIBE", names, now, piece)
        self._asked_in.update(dict.fromkeys(names, batch.number))
        return batch

    def _take(self, names: dict[str, None]) -> tuple[str, ...]:
        first_is_private = is_private(next(iter(names)))
        alike = (name for name in names if is_private(name) is first_is_private)
        taken = tuple(islice(alike, self._settings.subscribe_batch_streams))
        for name in taken:
            del names[name]
        return taken

    def _batch(self, method: _Method, names: tuple[str, ...], now: float, piece: _Piece | None = None) -> _Batch:
        self._sequence += 1
        return _Batch(self._sequence, method, names, now, 0, piece)

    # Answers.

    def error(self, code: int, message: str, now: float) -> bool:
        """Take an error of the exchange. Returns False if no outstanding batch can have caused it.

        Args:
            code: the exchange's error code.
            message: the exchange's message.
            now: the time.
        """
        if not self._outstanding:
            return False
        is_sure = now < self._stall_at()
        for batch in list(self._outstanding)[: 1 if is_sure else None]:
            batch.is_surely_its_own &= is_sure
            # An error about no stream takes precedence: during such trouble no name may be rejected.
            if batch.error is None or batch.error[0] in _ABOUT_A_STREAM:
                batch.error = (code, message)
        return True

    def answered(self, barrier: int, now: float) -> list[Verdict]:
        """Take a Pong: the server has handled every batch before its Ping. Returns the results of these batches.

        Args:
            barrier: the number of the Ping.
            now: the time.
        """
        concluded: list[_Batch] = []
        while self._outstanding and self._outstanding[0].barrier <= barrier:
            concluded.append(self._outstanding.popleft())
        error = next((batch.error for batch in concluded if batch.error), None)
        if len(concluded) > 1 and error is not None:
            for batch in concluded:  # one Pong for several batches: the cause of the error is unknown
                batch.error, batch.is_surely_its_own = batch.error or error, False
        return [verdict for batch in concluded for verdict in self._conclude(batch, now)]

    def _conclude(self, batch: _Batch, now: float) -> list[Verdict]:
        if batch.method == "UNSUBSCRIBE":
            return [Unattributed(*batch.error)] if batch.error and batch.is_surely_its_own else []
        self._newest_answered = batch.number
        names = self._still_asked_in(batch.number, batch.names)
        if batch.error is None:
            return self._confirm(names, batch.number, now)
        code, message = batch.error
        if batch.is_signed and self._sign is not None and code not in _ABOUT_A_STREAM:
            for name in names:
                self.reject(name)
            return [SignatureRefused(names, code, message)]
        if code in _ABOUT_A_STREAM:
            return self._trace(batch, names, code, message)
        unconfirmed = tuple(name for name in names if name not in self._confirmed)
        if not unconfirmed:
            return []
        return [Refused(unconfirmed, code, message, self._retries.refuse(unconfirmed, now))]

    def _confirm(self, names: tuple[str, ...], number: int, now: float) -> list[Verdict]:
        self._confirmed_in.update(dict.fromkeys(names, number))
        self._retries.forget(names)
        self._retries.rush(now)
        new = tuple(name for name in names if name not in self._confirmed)
        if not new:
            return []
        self._confirmed.update(dict.fromkeys(new, now))
        return [Confirmed(new)]

    def _trace(self, batch: _Batch, names: tuple[str, ...], code: int, message: str) -> list[Verdict]:
        """Search the bad name. If names that are gone or known to be bad explain the error, the others get another try together."""
        number = batch.number
        if len(names) > 1 and len(names) == len(batch.names) and batch.is_surely_its_own:
            middle = len(names) // 2
            self._search.extendleft([_Piece(names[middle:], number), _Piece(names[:middle], number)])
        elif names == batch.names and batch.is_surely_its_own and batch.piece and batch.piece.failed_alone:
            self.reject(names[0])
            return [Rejected(names[0], code, message)]
        elif names:
            # Try once more alone: a late error of another request must not reject a good stream.
            failed_alone = batch.is_surely_its_own and len(batch.names) == 1
            self._search.appendleft(_Piece(names, number, failed_alone))
        return [] if batch.piece or not names else [Refused(names, code, message, 0.0)]

    def _still_asked_in(self, number: int, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names that are wanted and were neither requested nor unsubscribed after this batch."""
        return tuple(
            name
            for name in names
            if name in self._wanted and self._asked_in.get(name) == number and name not in self._to_subscribe
        )

    def _forget(self, name: str) -> None:
        self._wanted.discard(name)
        self._to_subscribe.pop(name, None)
        self._confirmed.pop(name, None)
        self._confirmed_in.pop(name, None)
        self._retries.forget((name,))
