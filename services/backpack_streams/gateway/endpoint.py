"""An endpoint of the read API, apart from HTTP: its path, its parameters and the function that answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from backpack_streams.gateway.answers import Answer
from backpack_streams.gateway.parameters import Parameter

__all__ = ["Endpoint", "Respond"]

Respond = Callable[[Mapping[str, Any]], Answer | Awaitable[Answer]]
"""Gets the validated parameters, by name; a parameter that was left out has its default."""


@dataclass(frozen=True)
class Endpoint:
    """One path that is answered with an `Answer`.

    Attributes:
        path: as in the URL, such as `/v1/orderbook`.
        summary: one line for the documents.
        parameters: the parameters of the URL; every endpoint also has `decimals`.
        answer: the model of the envelope's `data`, for the documents.
        respond: returns the answer, or raises a `RequestError`.
        max_age_seconds: how long a client may use the answer without asking again.
    """

    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    answer: type[BaseModel]
    respond: Respond
    max_age_seconds: int = 0
