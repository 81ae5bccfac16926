"""What one link is subscribed to: frames in batches, each followed by a Ping whose Pong tells whose error came back.

The exchange acknowledges nothing, and its errors name neither the request nor the stream. Frames are answered in
order, though, so the Pong for a Ping sent after a batch is a barrier: an error before it belongs to the oldest batch
outstanding. A batch with an error is subscribed again in halves (a repeated SUBSCRIBE does no harm) until single
streams are left; one that fails alone twice is named.

Private streams go in frames of their own, each signed when it is sent. An error that speaks of no stream then is about
the signature, so the whole frame is refused and not searched for a culprit.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from backpack_streams.exchange.session_actions import Action, SendPing, SendText
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.streams import is_private

Sign = Callable[[], Sequence[str]]
"""Gives `[verifyingKey, signature, timestamp, window]`, valid from the moment of the call."""

_ABOUT_A_STREAM = frozenset({4006, 4008})
"""`Invalid stream` and `Invalid depth window`: the codes seen that blame a name."""
_BARRIER_PREFIX = b"batch:"
_Method = Literal["SUBSCRIBE", "UNSUBSCRIBE"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The exchange refuses this stream."""

    stream: str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Unattributed:
    """An error came that no stream could be found for."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A barrier got no Pong in time, so attribution is off until the server answers a Ping again."""


@dataclass(frozen=True, slots=True)
class SignatureRefused:
    """The exchange does not take the signature that these streams were asked for with."""

    streams: tuple[str, ...]
    code: int
    message: str


Verdict = Rejected | Unattributed | Unanswered | SignatureRefused


@dataclass(slots=True)
class _Suspicion:
    """An error being traced to its stream: how many pieces of its batch are still to be tried."""

    code: int
    message: str
    open_pieces: int = 1
    is_explained: bool = False


@dataclass(slots=True)
class _Piece:
    names: tuple[str, ...]
    suspicion: _Suspicion
    failed_alone_before: bool = False


@dataclass(slots=True)
class _Batch:
    barrier: bytes
    method: _Method
    names: tuple[str, ...]
    sent_at: float
    piece: _Piece | None
    error: tuple[int, str] | None = None

    @property
    def is_signed(self) -> bool:
        return self.method == "SUBSCRIBE" and bool(self.names) and is_private(self.names[0])


class LinkSubscriptions:
    """The subscriptions of one link. Sans-I/O: times are seconds of the caller's clock."""

    def __init__(self, link_id: int, settings: SessionSettings, names: Iterable[str], sign: Sign | None = None) -> None:
        self._link_id = link_id
        self._settings = settings
        self._sign = sign
        self._to_subscribe: dict[str, None] = dict.fromkeys(names)
        self._to_unsubscribe: dict[str, None] = {}
        self._wanted = set(self._to_subscribe)
        self._sent_at: dict[str, float] = {}
        self._pieces: deque[_Piece] = deque()
        self._outstanding: deque[_Batch] = deque()
        self._next_send_at = float("-inf")
        self._sequence = 0
        self._is_attributing = True

    @property
    def is_settled(self) -> bool:
        """Whether every stream was asked for and the server is known to have seen the requests."""
        return not (self._has_work() or self._outstanding)

    def subscribed_at(self, name: str) -> float | None:
        """When this stream was asked for on this link, None if it was not."""
        return self._sent_at.get(name)

    def confirmed(self) -> set[str]:
        """Streams that were asked for and that the server, having seen the request, did not refuse."""
        asked = self._wanted & self._sent_at.keys() - self._to_subscribe.keys()
        for batch in self._outstanding:
            asked.difference_update(batch.names)
        for piece in self._pieces:
            asked.difference_update(piece.names)
        return asked

    def add(self, name: str) -> None:
        """Want this stream."""
        if name in self._wanted:
            return
        self._wanted.add(name)
        # Asked for again even if its UNSUBSCRIBE had not gone out yet: the frame that asked may have been refused.
        self._to_unsubscribe.pop(name, None)
        self._to_subscribe[name] = None

    def remove(self, name: str) -> None:
        """Want this stream no more."""
        self._wanted.discard(name)
        self._to_subscribe.pop(name, None)
        if name in self._sent_at:
            self._to_unsubscribe[name] = None

    def reject(self, name: str) -> None:
        """Want this stream no more, nor unsubscribe it: the exchange does not know it."""
        self._wanted.discard(name)
        self._to_subscribe.pop(name, None)
        self._to_unsubscribe.pop(name, None)
        self._sent_at.pop(name, None)

    def resubscribe(self, name: str) -> None:
        """Unsubscribe and subscribe again a stream that was asked for and does not deliver."""
        if name in self._wanted and name in self._sent_at:
            self._to_unsubscribe[name] = None
            self._to_subscribe[name] = None

    def due_at(self, *, barriers: bool = True) -> float | None:
        """When `send` or, with `barriers`, `expire` has something to do next; None if never."""
        times = [self._next_send_at] if self._has_work() and self._has_room() else []
        if barriers and self._outstanding:
            times.append(self._outstanding[0].sent_at + self._settings.barrier_timeout_seconds)
        return min(times, default=None)

    def send(self, now: float) -> list[Action]:
        """Give the frames that may go out now: spaced, and few ahead of their Pongs."""
        actions: list[Action] = []
        while now >= self._next_send_at and self._has_work() and self._has_room():
            batch = self._next_batch(now)
            if batch is None:
                continue
            frame: dict[str, str | Sequence[str]] = {"method": batch.method, "params": batch.names}
            if batch.is_signed and self._sign is not None:
                frame["signature"] = self._sign()
            text = json.dumps(frame, separators=(",", ":"))
            actions.append(SendText(self._link_id, text))
            self._next_send_at = now + self._settings.subscribe_spacing_seconds
            if self._is_attributing:
                self._outstanding.append(batch)
                actions.append(SendPing(self._link_id, batch.barrier))
        return actions

    def error(self, code: int, message: str) -> bool:
        """Take an error of the exchange; False if no batch is outstanding that it could belong to."""
        for batch in self._outstanding:
            # A batch may hold several bad names and so get several errors; one is enough to split it.
            batch.error = batch.error or (code, message)
            return True
        return False

    def pong(self, payload: bytes) -> list[Verdict]:
        """Take a Pong: its batch, and every batch before it, has been dealt with by the server."""
        self._is_attributing = True
        if all(batch.barrier != payload for batch in self._outstanding):
            return []
        verdicts: list[Verdict] = []
        while True:
            batch = self._outstanding.popleft()
            verdicts += self._conclude(batch)
            if batch.barrier == payload:
                return verdicts

    def expire(self, now: float) -> list[Verdict]:
        """Give up attributing errors once the oldest barrier had no Pong for too long; subscribing goes on."""
        if not self._outstanding or now < self._outstanding[0].sent_at + self._settings.barrier_timeout_seconds:
            return []
        verdicts: list[Verdict] = [Unanswered()]
        verdicts += [Unattributed(*batch.error) for batch in self._outstanding if batch.error]
        suspicions = [batch.piece.suspicion for batch in self._outstanding if batch.piece]
        suspicions += [piece.suspicion for piece in self._pieces]
        unexplained = {id(suspicion): suspicion for suspicion in suspicions if not suspicion.is_explained}
        verdicts += [Unattributed(suspicion.code, suspicion.message) for suspicion in unexplained.values()]
        for piece in self._pieces:
            self._to_subscribe.update(dict.fromkeys(name for name in piece.names if name in self._wanted))
        self._pieces.clear()
        self._outstanding.clear()
        self._is_attributing = False
        return verdicts

    def restart_barrier_clock(self, now: float) -> None:
        """Count the wait for Pongs from now: nothing was read until now."""
        for batch in self._outstanding:
            batch.sent_at = now

    def _has_work(self) -> bool:
        return bool(self._pieces or self._to_unsubscribe or self._to_subscribe)

    def _has_room(self) -> bool:
        is_tracing = bool(self._pieces) or any(batch.piece for batch in self._outstanding)
        return len(self._outstanding) < (1 if is_tracing else self._settings.outstanding_batches)

    def _next_batch(self, now: float) -> _Batch | None:
        if self._pieces:
            return self._next_piece(now)
        if self._to_unsubscribe:
            names = self._take(self._to_unsubscribe)
            for name in names:
                self._sent_at.pop(name, None)
            return self._batch("UNSUBSCRIBE", names, now)
        return self._subscribe(self._take(self._to_subscribe), now)

    def _next_piece(self, now: float) -> _Batch | None:
        piece = self._pieces.popleft()
        piece.names = tuple(name for name in piece.names if name in self._wanted)
        if not piece.names:
            piece.suspicion.open_pieces -= 1
            piece.suspicion.is_explained = True
            return None
        return self._subscribe(piece.names, now, piece)

    def _subscribe(self, names: tuple[str, ...], now: float, piece: _Piece | None = None) -> _Batch:
        # A piece too: its streams may have been unsubscribed since the first frame that asked for them.
        for name in names:
            self._sent_at[name] = now
        return self._batch("SUBSCRIBE", names, now, piece)

    def _take(self, names: dict[str, None]) -> tuple[str, ...]:
        first_is_private = is_private(next(iter(names)))
        alike = (name for name in names if is_private(name) is first_is_private)
        taken = tuple(islice(alike, self._settings.subscribe_batch_streams))
        for name in taken:
            del names[name]
        return taken

    def _batch(self, method: _Method, names: tuple[str, ...], now: float, piece: _Piece | None = None) -> _Batch:
        self._sequence += 1
        return _Batch(_BARRIER_PREFIX + b"%d" % self._sequence, method, names, now, piece)

    def _conclude(self, batch: _Batch) -> list[Verdict]:
        if batch.error is None:
            return self._close_piece(batch.piece)
        code, message = batch.error
        if batch.method == "UNSUBSCRIBE":
            return [Unattributed(code, message)]
        if batch.is_signed and self._sign is not None and code not in _ABOUT_A_STREAM:
            return self._refuse(batch, code, message)
        piece = batch.piece or _Piece(batch.names, _Suspicion(code, message))
        still_wanted = tuple(name for name in piece.names if name in self._wanted)
        if len(still_wanted) < len(piece.names):
            # A name that is gone or known to be bad by now explains the error; the others get another try together.
            piece.suspicion.is_explained = True
            parts = [still_wanted] if still_wanted else []
        elif len(still_wanted) > 1:
            middle = len(still_wanted) // 2
            parts = [still_wanted[:middle], still_wanted[middle:]]
        elif piece.failed_alone_before:
            piece.suspicion.is_explained = True
            self.reject(still_wanted[0])
            return [Rejected(still_wanted[0], code, message), *self._close_piece(piece)]
        else:
            # Once more alone: a late error of another request must not cost a good stream.
            parts = [still_wanted]
        failed_alone = len(still_wanted) == 1 and len(piece.names) == 1
        piece.suspicion.open_pieces += len(parts)
        self._pieces.extendleft(_Piece(part, piece.suspicion, failed_alone) for part in reversed(parts))
        return self._close_piece(piece)

    def _refuse(self, batch: _Batch, code: int, message: str) -> list[Verdict]:
        refused = tuple(name for name in batch.names if name in self._wanted)
        for name in refused:
            self.reject(name)
        if batch.piece is not None:
            batch.piece.suspicion.is_explained = True
        return [SignatureRefused(refused, code, message), *self._close_piece(batch.piece)]

    def _close_piece(self, piece: _Piece | None) -> list[Verdict]:
        if piece is None:
            return []
        suspicion = piece.suspicion
        suspicion.open_pieces -= 1
        if suspicion.open_pieces or suspicion.is_explained:
            return []
        return [Unattributed(suspicion.code, suspicion.message)]
