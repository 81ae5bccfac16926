"""Notes on a request while it is answered: for its headers, and for the access log."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Scope

__all__ = ["RequestNotes", "notes_of"]

_NAME: Final = "backpack_streams.request"


@dataclass(slots=True)
class RequestNotes:
    """Notes on one request.

    Attributes:
        request_id: a UUID; in the envelope, in `X-Request-ID` and in the log.
        started: when it came (monotonic seconds).
        status: the answer's HTTP status; 0 before it begins.
        body_bytes: bytes of the body sent so far.
        key_id: the public part of the key, once the key is known to be valid.
        is_stream: whether the answer is a stream.
        parameters: the parameters of the URL, once they are validated; other parameters may contain anything, even a key.
    """

    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    body_bytes: int = 0
    key_id: str | None = None
    is_stream: bool = False
    parameters: dict[str, Any] | None = None


def notes_of(scope: Scope) -> RequestNotes:
    """Return the notes on a request; new ones if it has none yet.

    Args:
        scope: the ASGI scope of the request, which stores them.
    """
    notes = scope.get(_NAME)
    if not isinstance(notes, RequestNotes):
        notes = scope[_NAME] = RequestNotes()
    return notes
