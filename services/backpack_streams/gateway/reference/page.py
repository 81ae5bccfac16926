"""The OpenAPI document as a page for people: plain HTML, generated once, with a form to try each endpoint."""

import json
from html import escape
from typing import Any, Final

from backpack_streams.gateway.reference.openapi import Json

__all__ = ["reference_page"]

_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/docs/page.css">
<script src="/docs/page.js" type="module"></script>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{description}</p>
<p><a href="/">Live page</a> · <a href="/openapi.json">OpenAPI document</a></p>
<p class="key" {hidden}><label>API key <input id="key" type="password" autocomplete="off" placeholder="bps_…"></label>
It stays in this page and is sent in the header <code>X-API-Key</code>.</p>
</header>
<nav aria-label="Endpoints"><ul>
{contents}
</ul></nav>
<main>
"""
_TAIL: Final = """</main>
</body>
</html>
"""


def reference_page(document: Json) -> bytes:
    """Return the page as UTF-8.

    Args:
        document: a document that `openapi` returned.
    """
    paths: dict[str, Json] = {path: methods["get"] for path, methods in document["paths"].items()}
    info = document["info"]
    head = _HEAD.format(
        title=escape(info["title"]),
        description=_text(info["description"]),
        hidden="" if document.get("security") else "hidden",
        contents="\n".join(
            f'<li><a href="#{escape(each["operationId"])}">{escape(path)}</a></li>' for path, each in paths.items()
        ),
    )
    sections = "\n".join(_section(path, each, document) for path, each in paths.items())
    return (head + sections + _failures(document) + _TAIL).encode()


def _section(path: str, operation: Json, document: Json) -> str:
    answer = operation["responses"]["200"]["content"]
    parts = [
        f'<section id="{escape(operation["operationId"])}">',
        f"<h2><code>GET {escape(path)}</code></h2>",
        f"<p>{_text(operation.get('description') or operation['summary'] + '.')}</p>",
        _form(path, operation["parameters"]),
    ]
    json_answer = answer.get("application/json")
    if json_answer is not None:
        parts.append(_details("Example", f"<pre>{escape(json.dumps(json_answer['example'], indent=2))}</pre>"))
        name = json_answer["schema"]["properties"]["data"]["$ref"].rpartition("/")[2]
        parts.append(_details("Fields of <code>data</code>", _fields(name, document["components"]["schemas"])))
        parts.append('<pre class="answer" aria-live="polite" hidden></pre>')
    return "\n".join([*parts, "</section>"])


def _form(path: str, parameters: list[Json]) -> str:
    rows = "\n".join(_row(path, each) for each in parameters if each["in"] == "query")
    table = _table(("parameter", "value", "meaning"), rows)
    is_stream = path.endswith("/stream")
    button = "" if is_stream else '<button type="submit">Try it</button>'
    return f'<form action="{escape(path)}" method="get">\n{table}\n{button}\n</form>'


def _row(path: str, parameter: Json) -> str:
    name, schema = escape(parameter["name"]), parameter["schema"]
    field = f"{escape(path)} {name}"
    example = escape(str(parameter.get("example", "")))
    if "enum" in schema:
        options = "".join(f"<option>{escape(each)}</option>" for each in ("", *schema["enum"]))
        control = f'<select name="{name}" aria-label="{field}">{options}</select>'
    else:
        value = f' value="{example}"' if parameter["required"] else f' placeholder="{example}"'
        control = f'<input name="{name}" aria-label="{field}"{value}>'
    needed = " <em>required</em>" if parameter["required"] else ""
    return f"<tr><td><code>{name}</code>{needed}</td><td>{control}</td><td>{_text(parameter['description'])}{_limits(schema)}</td></tr>"


def _limits(schema: Json) -> str:
    words = ""
    if "minimum" in schema:
        words += f"; {schema['minimum']} to {schema['maximum']}"
    if "default" in schema:
        words += f"; default {escape(str(schema['default']))}"
    return words


def _fields(name: str, schemas: Json) -> str:
    """Return a table of a model's fields; the fields of models inside it come below."""
    rows: list[str] = []
    _add_rows(rows, "", schemas[name], schemas)
    return _table(("field", "type", "meaning"), "".join(rows))


def _add_rows(rows: list[str], prefix: str, schema: Json, schemas: Json) -> None:
    for name, field in schema.get("properties", {}).items():
        kind, inner = _kind(field, schemas)
        rows.append(
            f"<tr><td><code>{escape(prefix + name)}</code></td><td>{escape(kind)}</td><td>{_text(field.get('description', ''))}</td></tr>"
        )
        if inner is not None:
            _add_rows(rows, f"{prefix}{name}{'[]' if kind.startswith('list') else ''}.", inner, schemas)


def _kind(field: Json, schemas: Json) -> tuple[str, Json | None]:
    """Return the type of a field in words, and the model within it."""
    if "$ref" in field:
        return "object", schemas[field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        kinds = [_kind(each, schemas) for each in field["anyOf"]]
        inner = next((each for _, each in kinds if each is not None), None)
        return " or ".join(kind for kind, _ in kinds), inner
    if field.get("type") == "array":
        kind, inner = _kind(field["items"], schemas)
        return f"list of {kind}", inner
    kind = field.get("type", "any")
    return ("number" if kind == ["number", "string"] else str(kind)), None


def _failures(document: Json) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{_text(each['description'])}</td></tr>"
        for status, each in document["components"]["responses"].items()
    )
    return (
        f'<section id="errors"><h2>Errors</h2><div class="wide"><table><tbody>{rows}</tbody></table></div></section>\n'
    )


def _table(heads: tuple[str, ...], rows: str) -> str:
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>"


def _text(words: Any) -> str:
    """Return text as HTML; text between backticks becomes code."""
    parts = escape(str(words)).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
