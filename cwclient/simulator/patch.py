"""PATCH of an addition: a JSON array of operations (connectwise-api.md 6.1)."""

from collections.abc import Mapping

from cwclient import jsons
from cwclient.simulator.errors import invalid_addition, unconvertible
from cwclient.simulator.records import derive, overlaid, touch
from cwclient.simulator.schema import SCHEMAS, Field, Record, convert, find_field

FIELDS: Mapping[str, Field] = SCHEMAS["Addition"]

_OPERATIONS = ("add", "replace", "remove")
_FIXED = ("id", "agreementId", "agreementStatus", "additionStatus", "_info")


def parse_operations(body: bytes) -> list[Record]:
    """Read the body of a PATCH. Raises ApiError (400 InvalidObject) unless it is a JSON array of objects."""
    try:
        operations = jsons.loads(body)
    except ValueError:
        raise invalid_addition("InvalidBody", "The body is not valid JSON.") from None
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise invalid_addition("InvalidBody", "The body must be an array of operations.")
    return operations


def patched(addition: Record, agreement: Record, operations: list[Record], member: str) -> Record:
    """Return the addition with all operations applied and its derived values computed anew, changed by `member`.

    Raises ApiError: 400 InvalidObject for an unknown operation or path, 500 for a value of the wrong type.
    """
    changes: Record = {}
    for operation in operations:
        changes |= _change(operation)
    cleared = {name for name, value in changes.items() if value is None and not FIELDS[name].nullable}
    result = {name: value for name, value in overlaid(addition, changes).items() if name not in cleared}
    derive(result, agreement)
    touch(result, member)
    return result


def is_closed(addition: Record) -> bool:
    """Say whether the addition or its agreement is cancelled or expired (connectwise-api.md 5.2, 6.3)."""
    return not {addition["additionStatus"], addition["agreementStatus"]}.isdisjoint({"Cancelled", "Expired"})


def _change(operation: Record) -> Record:
    """Return the field that an operation changes with its new value, None to clear it."""
    name, path = operation.get("op"), operation.get("path")
    if name not in _OPERATIONS:
        raise invalid_addition("InvalidOperation", f"op must be one of {', '.join(_OPERATIONS)}.", "op")
    # Documented without a leading slash, seen with one; case counts (connectwise-api.md 6.1).
    path = path.removeprefix("/") if isinstance(path, str) else ""
    spec = find_field(FIELDS, path)
    if spec is None or path.partition("/")[0] in _FIXED:
        raise invalid_addition("InvalidPath", f"The path {path!r} cannot be changed.", path)
    if "/" in path:
        # A part of a reference: 200, and nothing changes (connectwise-api.md 6.1).
        return {}
    if name != "remove" and "value" not in operation:
        raise invalid_addition("MissingRequiredField", "value is required.", path)
    value = None if name == "remove" else operation["value"]
    return {path: None if value is None else _converted(spec, value, path)}


def _converted(spec: Field, value: object, path: str) -> object:
    try:
        if spec.kind in {"number", "integer"} and isinstance(value, str):
            value = float(value)
        return convert(spec, value, path)
    except ValueError:
        raise unconvertible(value, path) from None
