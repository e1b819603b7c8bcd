"""ConnectWise's published schemas: which fields a record has and of which type.

`schemas.json` holds them verbatim, one a line, as they stand in the published OpenAPI document. Added to them are the
fields of live data that the document leaves out: `additionStatus` (connectwise-api.md 5.2) and the two names in `_info`
(connectwise-api.md 7.4).
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal

Record = dict[str, Any]
Kind = Literal["integer", "number", "string", "boolean", "date-time", "enum", "reference", "array", "map"]

STATUSES = ("Active", "Cancelled", "Expired", "Inactive")

_INT32 = 2**31
_MAX_DOUBLE = sys.float_info.max


@dataclass(frozen=True)
class Field:
    """One field of a record: its kind, the words of an enum, the fields of a reference, the item of an array."""

    kind: Kind
    nullable: bool = False
    words: tuple[str, ...] = ()
    fields: Mapping[str, "Field"] = field(default_factory=dict)
    item: "Field | None" = None


def _read(schemas: dict[str, Record], schema: Record) -> Field:
    nullable = bool(schema.get("nullable"))
    if "$ref" in schema:
        target = schemas[schema["$ref"].rpartition("/")[2]]
        return Field("reference", fields={name: _read(schemas, sub) for name, sub in target["properties"].items()})
    if "enum" in schema:
        return Field("enum", nullable, words=tuple(schema["enum"]))
    if schema["type"] == "array":
        return Field("array", item=_read(schemas, schema["items"]))
    if schema["type"] == "object":
        return Field("map")
    if schema.get("format") == "date-time":
        return Field("date-time", nullable)
    kind: Kind = schema["type"]
    return Field(kind, nullable)


def _load() -> dict[str, dict[str, Field]]:
    schemas = json.loads(resources.files(__package__).joinpath("schemas.json").read_text("utf-8"))
    info = Field("map", fields={"lastUpdated": Field("date-time"), "updatedBy": Field("string")})
    loaded = {}
    for name in ("Company", "Agreement", "Addition", "CatalogItem"):
        fields = {key: _read(schemas, schema) for key, schema in schemas[name]["properties"].items()}
        loaded[name] = fields | {"_info": info}
    loaded["Addition"]["additionStatus"] = Field("enum", words=STATUSES)
    return loaded


SCHEMAS: Mapping[str, Mapping[str, Field]] = _load()


def find_field(fields: Mapping[str, Field], path: str) -> Field | None:
    """Find the field at a path such as `company/id`; None if there is none."""
    found: Field | None = None
    for name in path.split("/"):
        found = fields.get(name)
        if found is None:
            return None
        fields = found.fields
    return found


def value_at(record: Record, path: tuple[str, ...]) -> object:
    """Read the value at a path; None if it is absent."""
    value: object = record
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def timestamp(moment: datetime) -> str:
    """Write an aware time as ConnectWise does: UTC, `yyyy-MM-ddTHH:mm:ssZ` (connectwise-api.md 8)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> str:
    """Bring a date or date-time to the form of `timestamp`; without an offset it is UTC.

    Raises ValueError if it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
        return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date or date-time such as 2026-11-01T00:00:00Z") from None


def convert(spec: Field, value: object, where: str) -> object:
    """Check a JSON value against a field and bring it to the form it is stored in (numbers as floats, dates in UTC).

    Raises ValueError, naming `where`, if the type is wrong.
    """
    if value is None and spec.nullable:
        return None
    if spec.item is not None and isinstance(value, list):
        return [convert(spec.item, item, f"{where}[{index}]") for index, item in enumerate(value)]
    if spec.kind == "reference" and isinstance(value, dict):
        return _convert_fields(spec.fields, value, where)
    if spec.kind == "date-time" and isinstance(value, str):
        return parse_timestamp(value)
    if not _ACCEPTS[spec.kind](spec, value):
        raise ValueError(f"{where}: expected {' | '.join(spec.words) or spec.kind}, got {json.dumps(value)}")
    return float(value) if spec.kind == "number" and isinstance(value, int) else value


def check_record(schema: str, record: Record) -> Record:
    """Check a record as given in a state document against a published schema; null fields are left alone.

    Raises ValueError, naming the field, for an unknown field or a value of the wrong type.
    """
    return _convert_fields(SCHEMAS[schema], record, schema)


def _convert_fields(fields: Mapping[str, Field], values: Record, where: str) -> Record:
    unknown = values.keys() - fields.keys()
    if unknown:
        raise ValueError(f"{where} has no field {min(unknown)!r}")
    return {
        name: value if value is None else convert(fields[name], value, f"{where}.{name}")
        for name, value in values.items()
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_ACCEPTS: Mapping[Kind, Callable[[Field, Any], bool]] = {
    "boolean": lambda _, value: isinstance(value, bool),
    "integer": lambda _, value: _is_number(value) and isinstance(value, int) and -_INT32 <= value < _INT32,
    "number": lambda _, value: _is_number(value) and abs(value) <= _MAX_DOUBLE,
    "string": lambda _, value: isinstance(value, str),
    "enum": lambda spec, value: value in spec.words,
    "map": lambda _, value: isinstance(value, dict) and all(isinstance(item, str) for item in value.values()),
    "date-time": lambda *_: False,
    "reference": lambda *_: False,
    "array": lambda *_: False,
}
