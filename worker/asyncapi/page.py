"""docs/asyncapi.html: the AsyncAPI document for readers, one file that asks nothing of the network."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from worker.asyncapi.document import Node

_STYLE = """\
:root { color-scheme: light dark; --line: light-dark(#ccc, #444); --soft: light-dark(#f5f5f5, #222); }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
code, pre { font: 0.875em/1.4 ui-monospace, monospace; }
pre { background: var(--soft); padding: 0.75rem; overflow: auto; }
div { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid var(--line); padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
th { background: var(--soft); }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
"""

_LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def page(document: Node, schemas: Mapping[str, Node]) -> str:
    """Return the page of a document, whose schemas are given by type."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width">\n<style>\n{_STYLE}</style>\n</head>\n<body>',
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].strip().split("\n\n")),
        *_operations(document),
        *_rabbitmq(document["x-rabbitmq"]),
    ]
    for kind, message in document["components"]["messages"].items():
        parts += _message(kind, message, schemas[kind])
    return "\n".join([*parts, "</body>", "</html>", ""])


def _operations(document: Node) -> Iterator[str]:
    operations = document["operations"].values()
    received = [one for one in operations if one["action"] == "receive"]
    sent = [one for one in operations if one["action"] == "send"]
    yield "<h2>The worker receives</h2>"
    answered = [[*_about(one), ", ".join(map(_link, one["reply"]["messages"]))] for one in received]
    yield from _table(["message", "about", "is answered by"], answered)
    yield "<h2>The worker sends</h2>"
    yield from _table(["message", "about"], [_about(one) for one in sent])


def _about(operation: Node) -> list[str]:
    return [", ".join(map(_link, operation["messages"])), _text(operation["summary"])]


def _rabbitmq(declared: Node) -> Iterator[str]:
    yield "<h2>RabbitMQ</h2>"
    exchanges = [[_code(one["name"]), escape(one["type"])] for one in declared["exchanges"]]
    yield from _table(["exchange", "type"], exchanges)
    rows = [
        [
            _code(queue["name"]),
            "<br>".join(_code(f"{one['exchange']} {one['routing_key']}") for one in queue["bindings"]),
            "<br>".join(_code(f"{name}: {value}") for name, value in queue["arguments"].items()),
        ]
        for queue in declared["queues"]
    ]
    yield from _table(["queue", "is bound to exchange, by key", "arguments"], rows)


def _message(kind: str, message: Node, schema: Node) -> Iterator[str]:
    yield f'<section>\n<h2 id="{kind}">{escape(kind)}</h2>\n<p>{_text(schema["description"])}</p>'
    yield from _fields(schema, kind)
    for name, part in schema.get("$defs", {}).items():
        yield f'<h3 id="{kind}-{name}">{escape(name)}</h3>\n<p>{_text(part["description"])}</p>'
        yield from _fields(part, kind)
    for example in message["examples"]:
        body = json.dumps(example["payload"], indent=2, ensure_ascii=False)
        yield f"<details>\n<summary>Example</summary>\n<pre>{escape(body)}</pre>\n</details>"
    yield "</section>"


def _fields(schema: Node, kind: str) -> Iterator[str]:
    required = schema.get("required", [])
    rows = [
        [_code(name), _type(field, kind), "yes" if name in required else "", _text(field["description"])]
        for name, field in schema["properties"].items()
    ]
    yield from _table(["field", "type", "required", "meaning"], rows)


def _type(field: Node, kind: str) -> str:
    match field:
        case {"$ref": path}:
            name = path.rpartition("/")[2]
            return f'<a href="#{kind}-{name}">{escape(name)}</a>'
        case {"const": value}:
            return _code(value)
        case {"enum": values}:
            return ", ".join(map(_code, values))
        case {"type": "array", "items": items}:
            return f"list of {_type(items, kind)}{_limits(field)}"
        case {"type": name}:
            return escape(name) + _limits(field)
    return " or ".join(_type(choice, kind) for choice in field["anyOf"])


def _limits(field: Node) -> str:
    return "".join(f", {words.format(field[word])}" for word, words in _LIMITS.items() if word in field)


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"<div><table>\n<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"
    yield from (f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    yield "</table></div>"


def _link(reference: Node) -> str:
    kind = reference["$ref"].rpartition("/")[2]
    return f'<a href="#{kind}">{escape(kind)}</a>'


def _code(value: Any) -> str:  # noqa: ANN401 - JSON
    return f"<code>{escape(str(value))}</code>"


def _text(words: str) -> str:
    """Return the words as HTML; what stands between backticks is code."""
    pieces = words.split("`")
    return "".join(_code(piece) if number % 2 else escape(piece) for number, piece in enumerate(pieces))
