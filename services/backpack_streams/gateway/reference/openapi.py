"""The OpenAPI 3.1 document of the read API, generated from the endpoints' own declarations, so that both always agree."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from backpack_streams import __version__
from backpack_streams.gateway.endpoint import Endpoint
from backpack_streams.gateway.parameters import DECIMALS, Parameter
from backpack_streams.gateway.reference.envelope_models import Failure, Meta
from backpack_streams.gateway.stream.requests import EVENT_PARAMETERS
from backpack_streams.gateway.stream.routes import STREAM_PATH

__all__ = ["openapi"]

Json = dict[str, Any]
_REFS: Final = "#/components/schemas/{model}"
_SCHEME: Final = "ApiKey"
_INTRODUCTION: Final = """Market data of Backpack Exchange, served from Kafka. Every answer has the same envelope and says how old it is.
Prices and quantities are JSON numbers with every digit; many readers round such numbers, and `decimals=string` gives strings instead."""
_FAILURES: Final = {
    400: "A parameter is missing, repeated, unknown or out of range, or the URL holds a key. The message says what would be right.",
    401: "There is no key, or not a valid one. Send it in the header `X-API-Key`.",
    404: "There is no such market.",
    429: "The key's requests of this second or this month are used up; `Retry-After` says when there are more.",
    431: "The request line and the headers are longer than 16,384 bytes together.",
    500: "The gateway failed; its log says why under the request id.",
    503: "The data is not there for now; the message says why, `Retry-After` when another attempt makes sense.",
}
_STREAM_DESCRIPTION: Final = """Events as the data changes: `subscribed`, then a `snapshot` of each channel and market, then `update`s,
and every second a `heartbeat` with the time up to which each topic has been delivered completely. `id` of the heartbeats is the position
to which a client returns with `Last-Event-ID`. The same path takes WebSocket connections, whose requests are messages; the guide on the
stream describes both."""


class _ExactSchema(GenerateJsonSchema):
    """Decimals are numbers, or strings if they are asked for."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {"type": ["number", "string"]}


def openapi(endpoints: Iterable[Endpoint], *, needs_key: bool) -> Json:
    """Return the document.

    Args:
        endpoints: the endpoints, in the order of the document.
        needs_key: whether requests need an API key.
    """
    table = tuple(endpoints)
    models: list[type[BaseModel]] = [Meta, Failure, *dict.fromkeys(each.answer for each in table)]
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_REFS, schema_generator=_ExactSchema
    )
    schemas: Json = definitions["$defs"]
    paths = {each.path: {"get": _operation(each, schemas)} for each in table}
    paths[STREAM_PATH] = {"get": _stream_operation()}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "backpack-streams read API", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _failure(status, text) for status, text in _FAILURES.items()},
            "securitySchemes": {_SCHEME: {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }
    return document | ({"security": [{_SCHEME: []}]} if needs_key else {})


def example_of(schema: Json, schemas: Mapping[str, Any]) -> Any:
    """Return an example of a schema, from the examples of its fields."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    for each in schema.get("anyOf", ()):
        if each.get("type") != "null":
            return example_of(each, schemas)
    if schema.get("type") == "array":
        return [example_of(schema["items"], schemas)]
    if schema.get("type") == "object":
        return {name: example_of(each, schemas) for name, each in schema.get("properties", {}).items()}
    return "…" if schema.get("type") == "string" else None


def _operation(endpoint: Endpoint, schemas: Json) -> Json:
    name = endpoint.answer.__name__
    reference = {"$ref": _REFS.format(model=name)}
    fields: Json = {
        "data": reference,
        "meta": {"$ref": _REFS.format(model="Meta")},
        "status": {"const": "ok"},
        "message": {"type": "string"},
        "success": {"const": True},
    }
    example = {
        "data": example_of(reference, schemas),
        "meta": example_of(fields["meta"], schemas),
        "status": "ok",
        "message": f"{endpoint.summary} retrieved successfully",
        "success": True,
    }
    envelope = {"type": "object", "properties": fields, "required": list(fields)}
    answer = {
        "description": endpoint.summary,
        "content": {"application/json": {"schema": envelope, "example": example}},
    }
    return {
        "operationId": _operation_id(endpoint.path),
        "summary": endpoint.summary,
        "parameters": [_parameter(each) for each in (*endpoint.parameters, DECIMALS)],
        "responses": {"200": answer | {"headers": _answer_headers()}, "304": _NOT_MODIFIED, **_references()},
    }


def _stream_operation() -> Json:
    last = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "where to go on"}
    events = {"description": "Events without end", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {
        "operationId": "stream",
        "summary": "Books and records as they change",
        "description": _STREAM_DESCRIPTION,
        "parameters": [*(_parameter(each) for each in EVENT_PARAMETERS.values()), last],
        "responses": {"200": events, **_references()},
    }


_NOT_MODIFIED: Final = {"description": "The answer is still the one that `If-None-Match` names."}


def _answer_headers() -> Json:
    text = {"schema": {"type": "string"}}
    return {
        "ETag": {**text, "description": "name of this answer for `If-None-Match`"},
        "Cache-Control": {**text, "description": "for how long it may be used"},
        "X-Request-ID": {**text, "description": "as in `meta`"},
    }


def _failure(status: int, text: str) -> Json:
    schema = {"$ref": _REFS.format(model="Failure")}
    response: Json = {"description": text, "content": {"application/json": {"schema": schema}}}
    if status in (429, 503):
        seconds = {"schema": {"type": "integer"}, "description": "seconds after which another attempt makes sense"}
        response["headers"] = {"Retry-After": seconds}
    return response


def _references() -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in _FAILURES}


def _parameter(parameter: Parameter) -> Json:
    found: Json = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": parameter.schema(),
    }
    if parameter.example is not None:
        found["example"] = parameter.example
    if parameter.kind == "words":
        found |= {"style": "form", "explode": False}
    return found


def _operation_id(path: str) -> str:
    return path.rpartition("/")[2]
