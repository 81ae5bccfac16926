"""Streams that the exchange refuses, until they are retried, and a limited number of notices about errors."""

from collections import deque
from collections.abc import Collection

from backpack_streams.exchange.session_actions import Action, Notice, NoticeKind
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.verdicts import Refused, Rejected, SignatureRefused

_MINUTE_SECONDS = 60.0
_MOST_DOUBLINGS = 16


class Refusals:
    """The refused streams of all sockets together. Times are seconds of the session's clock.

    Attributes:
        until: refused streams, each with the time of its next try.
    """

    def __init__(self, settings: SessionSettings) -> None:
        """Start without refused streams."""
        self.until: dict[str, float] = {}
        self._settings = settings
        self._rejections: dict[str, int] = {}
        self._told: deque[float] = deque(maxlen=settings.unattributed_notices_per_minute_limit)

    def take_due(self, now: float) -> list[str]:
        """The streams to retry now."""
        due = [name for name, until in self.until.items() if now >= until]
        for name in due:
            del self.until[name]
        return due

    def reject(self, verdict: Rejected, socket_id: int, now: float) -> list[Action]:
        """Take a refusal of one stream by name. The first retries come soon, because the exchange may not know the stream
        yet, or may have a fault.

        Args:
            verdict: the refusal.
            socket_id: the socket.
            now: the time.
        """
        tries = self._rejections[verdict.stream] = self._rejections.get(verdict.stream, -1) + 1
        base, cap = self._settings.rejected_base_seconds, self._settings.rejected_retry_seconds
        retry = min(cap, base * 2 ** min(tries, _MOST_DOUBLINGS))
        self.until[verdict.stream] = now + retry
        words = f"{verdict.code} {verdict.message}; next try in {retry:.0f} s"
        message = f"the exchange rejects {verdict.stream} with {words}"
        return [_rejected(message, socket_id, verdict.stream, verdict.code, retry)]

    def confirmed(self, streams: Collection[str]) -> None:
        """The exchange takes these subscriptions: forget earlier rejections."""
        if self._rejections:
            for name in streams:
                self._rejections.pop(name, None)

    def forget(self, stream: str) -> None:
        """The stream is no longer wanted."""
        self.until.pop(stream, None)
        self._rejections.pop(stream, None)

    def refuse_signature(
        self, verdict: SignatureRefused, streams: Collection[str], socket_id: int, now: float
    ) -> list[Action]:
        """Take a refusal of the signature of the request for these streams.

        Args:
            verdict: the refusal.
            streams: those that were not refused already.
            socket_id: the socket.
            now: the time.
        """
        code, retry = verdict.code, self._settings.refused_signature_retry_seconds
        self.until.update(dict.fromkeys(streams, now + retry))
        words = f"{code} {verdict.message}; next try in {retry:.0f} s"
        message = f"the exchange refuses the signature for {', '.join(streams)} with {words}"
        return [
            Notice(NoticeKind.SIGNATURE_REFUSED, message, socket_id, code=code, retry_seconds=retry),
            *(
                _rejected(f"the exchange refuses the signature for {name} with {words}", socket_id, name, code, retry)
                for name in streams
            ),
        ]

    def refused(self, verdict: Refused, socket_id: int, now: float) -> list[Action]:
        """Report an error on the subscription of several streams, of which none is known to be bad so far."""
        if not self._may_tell(now):
            return []
        code, retry = verdict.code, verdict.retry_seconds
        message = (
            f"error {code} {verdict.message} came back on the subscription of {len(verdict.streams)} streams on socket "
            f"{socket_id}; next try in {retry:.1f} s"
        )
        return [Notice(NoticeKind.SUBSCRIBE_REFUSED, message, socket_id, code=code, retry_seconds=retry)]

    def unattributed(self, code: int, message: str, socket_id: int, now: float) -> list[Action]:
        """Report an error frame that belongs to no subscription."""
        if not self._may_tell(now):
            return []
        words = f"the exchange sent error {code} {message} on socket {socket_id}, which belongs to no known request"
        return [Notice(NoticeKind.UNATTRIBUTED_ERROR, words, socket_id, code=code)]

    def _may_tell(self, now: float) -> bool:
        if len(self._told) == self._told.maxlen and now < self._told[0] + _MINUTE_SECONDS:
            return False
        self._told.append(now)
        return True


def _rejected(message: str, socket_id: int, stream: str, code: int, retry_seconds: float) -> Notice:
    return Notice(NoticeKind.STREAM_REJECTED, message, socket_id, stream, code, retry_seconds=retry_seconds)
