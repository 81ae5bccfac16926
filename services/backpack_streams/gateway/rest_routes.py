"""The endpoints of the read API as routes: each checks key, quota and parameters, and answers."""

from collections.abc import Iterable, Mapping
from inspect import isawaitable

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backpack_streams.gateway.endpoint import Endpoint
from backpack_streams.gateway.errors import RequestError
from backpack_streams.gateway.gate import Gate
from backpack_streams.gateway.parameters import DECIMALS, Parameter, parse
from backpack_streams.gateway.replies import answer_response, failure_response
from backpack_streams.gateway.request_notes import notes_of

__all__ = ["RestEndpoint", "rest_routes"]


def rest_routes(endpoints: Iterable[Endpoint], gate: Gate) -> list[Route]:
    """Return the route of each endpoint.

    Args:
        endpoints: the endpoints.
        gate: checks the keys.
    """
    return [Route(each.path, RestEndpoint(each, gate), methods=["GET"], name=each.path) for each in endpoints]


class RestEndpoint:
    """One endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, gate: Gate) -> None:
        self._endpoint = endpoint
        self._gate = gate
        self._declared: Mapping[str, Parameter] = {each.name: each for each in (*endpoint.parameters, DECIMALS)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: check its key, count it, validate its parameters, and send the answer or an error."""
        notes = notes_of(scope)
        try:
            notes.key_id = (await self._gate.admit(scope["headers"], scope["query_string"])).key_id
            parameters = parse(scope["query_string"], self._declared)
            notes.parameters = dict(parameters)
            decimals = parameters.pop(DECIMALS.name)
            answer = self._endpoint.respond(parameters)
            if isawaitable(answer):
                answer = await answer
            response = answer_response(scope, answer, decimals, self._endpoint.max_age_seconds)
        except RequestError as error:
            response = failure_response(scope, error)
        await response(scope, receive, send)
