"""The JSON Schemas of the messages, made from the models: one file per kind, named by its type."""

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from messages.envelope import Message, Part, type_of
from messages.wire import INPUTS, OUTPUTS

FOLDER = Path(__file__).parent
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ENVELOPE = ("id", "type", "time", "source")


def schemas() -> dict[str, str]:
    """Return the text of every schema by its file name, like `push.requested.v1.json`."""
    kinds = {kind: input_schema(kind) for kind in INPUTS} | {kind: output_schema(kind) for kind in OUTPUTS}
    return {
        f"{type_of(kind)}.json": json.dumps({"$schema": _DIALECT, **schema}, indent=2) + "\n"
        for kind, schema in kinds.items()
    }


def input_schema(kind: type[Message]) -> dict[str, Any]:
    """Return what a sender must write: no unknown field, the whole envelope."""
    schema = _described(kind, kind.model_json_schema(mode="validation"))
    return schema | {"required": [*_ENVELOPE, *schema["required"]]}


def output_schema(kind: type[Message]) -> dict[str, Any]:
    """Return what a reader may rely on: every field is there, and later ones may come."""
    schema = _described(kind, kind.model_json_schema(mode="serialization"))
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("additionalProperties", None)
        part["required"] = list(part["properties"])
    return schema


def _described(kind: type[Message], schema: dict[str, Any]) -> dict[str, Any]:
    """Describe each field by the text below it, its unit in words, and give an example of each."""
    parts = schema.get("$defs", {})
    named = {part.__name__: part for part in subclasses(Part)}
    for model, part in ((kind, schema), *((named[name], part) for name, part in parts.items())):
        texts = _texts(model)
        for name, field in part["properties"].items():
            for choice in field.get("anyOf", ()):
                field |= {word: choice.pop(word) for word in ("unit", "examples") if word in choice}
            unit = f" Unit: {field.pop('unit')}." if "unit" in field else ""
            field["description"] = texts[name] + unit
            field.setdefault("examples", [_example(field, parts)])
    return schema


def subclasses(of: type[Part]) -> Iterator[type[Part]]:
    """Yield all classes of JSON objects, messages too."""
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def _texts(model: type[Part]) -> dict[str, str]:
    """Return the text below each field; read here, as pydantic would read the sources whenever they are imported."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, Part):
            (body,) = ast.parse(inspect.getsource(one)).body
            for field, text in pairwise(getattr(body, "body", ())):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                        found[name] = inspect.cleandoc(words)
    return found


def _example(node: dict[str, Any], parts: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return a value that this schema allows."""
    match node:
        case {"examples": [first, *_]} | {"const": first} | {"enum": [first, *_]}:
            return first
        case {"$ref": path}:
            return _example(parts[path.rpartition("/")[2]], parts)
        case {"anyOf": [first, *_]}:
            return _example(first, parts)
        case {"type": "array", "items": items}:
            return [_example(items, parts)]
        case {"properties": properties}:
            return {name: _example(field, parts) for name, field in properties.items()}
        case {"type": "boolean"}:
            return True
    raise ValueError(f"a field has no example: {node}")


def write() -> None:
    """Write the files, and remove those of kinds that are no more."""
    current = schemas()
    for stale in FOLDER.glob("*.json"):
        if stale.name not in current:
            stale.unlink()
    for name, text in current.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
