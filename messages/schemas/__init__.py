"""The JSON Schemas of the messages, made from the models: one file per kind, named by its type."""

import json
from pathlib import Path
from typing import Any

from messages.envelope import Message, type_of
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
    schema = kind.model_json_schema(mode="validation")
    return schema | {"required": [*_ENVELOPE, *schema["required"]]}


def output_schema(kind: type[Message]) -> dict[str, Any]:
    """Return what a reader may rely on: every field is there, and later ones may come."""
    schema: dict[str, Any] = kind.model_json_schema(mode="serialization")
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("additionalProperties", None)
    return schema


def write() -> None:
    """Write the files, and remove those of kinds that are no more."""
    current = schemas()
    for stale in FOLDER.glob("*.json"):
        if stale.name not in current:
            stale.unlink()
    for name, text in current.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
