"""The schemas allow exactly what the worker accepts, field by field and value by value.

JSON Schema cannot say that a company is there once, that a period is in order, nor that a time is not in the future:
the descriptions do.
"""

import json
import re
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from messages import INPUTS, KINDS, ContractError, Message, decode, encode
from messages.schemas import FOLDER
from messages.values import DAY_PATTERN, ID_PATTERN, NAME_PATTERN, TIME_PATTERN, UUID_PATTERN

SCHEMAS: dict[str, Any] = {kind: json.loads((FOLDER / f"{kind}.json").read_bytes()) for kind in KINDS}
PROPERTIES = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))

_checker = jsonschema.FormatChecker()


@_checker.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value.upper()))


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Iterator[jsonschema.ValidationError]:
    # In ECMAScript, whose patterns these are, $ is the end; in Python also before a newline at the end.
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _pattern}
)
VALIDATORS = {kind: _Validator(schema, format_checker=_checker) for kind, schema in SCHEMAS.items()}

_days = st.dates(datetime(2000, 1, 1, tzinfo=UTC).date(), datetime(2100, 1, 1, tzinfo=UTC).date()).map(str)
_zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_moments = st.datetimes(datetime(1902, 1, 1), datetime(2997, 1, 1), timezones=st.just(UTC) | _zones)  # noqa: DTZ001 - the zone is drawn
_times = _moments.map(datetime.isoformat)
_seen = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)
_BY_PATTERN = {
    TIME_PATTERN: _times,
    DAY_PATTERN: _days,
    ID_PATTERN: _seen,
    NAME_PATTERN: _seen | st.builds("{} {}".format, _seen, _seen),
    UUID_PATTERN: st.uuids(version=4).map(str) | st.uuids(version=1).map(lambda one: str(one).upper()),
}
_NULL = {"type": "null"}


def _drawn(node: Any, parts: Any) -> st.SearchStrategy[Any]:
    """Draw what a schema of ours allows. hypothesis-jsonschema takes minutes for them."""
    match node:
        case {"$ref": path}:
            return _drawn(parts[path.rpartition("/")[2]], parts)
        case {"const": value}:
            return st.just(value)
        case {"enum": values}:
            return st.sampled_from(values)
        case {"properties": fields}:
            chosen = [_restricted(fields, rule) for rule in node.get("oneOf", node.get("anyOf", [{}]))]
            return st.one_of([_object(one, node.get("required", []), needed, parts) for one, needed in chosen])
        case {"anyOf": choices} if "type" not in node:
            return st.one_of([_drawn(one, parts) for one in choices])
        case {"pattern": pattern}:
            if pattern in _BY_PATTERN:
                return _BY_PATTERN[pattern]
            return st.from_regex(pattern.replace("$", r"\Z"), alphabet=string.printable)
        case {"type": "array"}:
            most = max(1, node.get("minItems", 0))
            return st.lists(_drawn(node["items"], parts), min_size=node.get("minItems", 0), max_size=most)
        case {"type": "integer"}:
            whole = st.integers(node.get("minimum"), node.get("maximum"))
            return whole | whole.filter(lambda one: one < 2**53).map(float)
        case {"type": "number"}:
            return st.integers(0, 99) | st.floats(node.get("minimum"), node.get("maximum"))
    return {"null": st.none(), "boolean": st.booleans()}[node["type"]]


def _restricted(fields: Any, rule: Any) -> tuple[Any, list[str]]:
    """The fields under one of the alternatives of a message, and those that it needs."""
    narrowed = dict(fields)
    for name, asks in rule.get("properties", {}).items():
        given = [one for one in fields[name].get("anyOf", [fields[name]]) if one != _NULL]
        match asks:
            case {"const": _} | {"enum": _} | {"type": "null"}:
                narrowed[name] = asks
            case {"not": {"const": value}}:
                narrowed[name] = {"enum": [one for one in fields[name]["enum"] if one != value]}
            case {"maxItems": 0}:
                narrowed[name] = {"const": []}
            case {"not": {"maxItems": 0}}:
                narrowed[name] = {**fields[name], "minItems": 1}
            case _:
                narrowed[name] = given[0]
    return narrowed, rule.get("required", [])


def _object(fields: Any, required: list[str], needed: list[str], parts: Any) -> st.SearchStrategy[Any]:
    drawn = {name: _drawn(field, parts) for name, field in fields.items()}
    always = {name: one for name, one in drawn.items() if name in required or name in needed}
    return st.fixed_dictionaries(always, optional={name: one for name, one in drawn.items() if name not in always})


def _tidy(node: Any) -> Any:
    """Put in order what no schema can ask for: periods, and each company once."""
    if isinstance(node, list):
        once = {json.dumps(one.get("company_id") if isinstance(one, dict) else one): one for one in node}
        named = [one for one in node if isinstance(one, dict) and "company_id" in one]
        return [_tidy(one) for one in (once.values() if len(named) == len(node) else node)]
    if not isinstance(node, dict):
        return node
    if node.keys() >= {"start", "end"}:
        return {"start": node["start"], "end": node["start"]}
    if node.keys() >= {"imported", "written"}:
        tally = node["written"]
        return {name: tally if name in {"imported", "written"} else {"companies": 0, "users": 0} for name in node}
    return {name: _tidy(one) for name, one in node.items()}


DOCUMENTS = {kind: _drawn(SCHEMAS[kind], SCHEMAS[kind].get("$defs")).map(_tidy) for kind in KINDS}


def _read(document: object) -> Message:
    return decode(json.dumps(document).encode(), type=None, content_type=None)


def _is_accepted(document: object) -> bool:
    try:
        _read(document)
    except ContractError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_schema_allows_is_read(kind: str) -> None:
    """A client in any language that obeys the schema is never refused; what is read and written obeys it again."""

    @PROPERTIES
    @given(DOCUMENTS[kind])
    def check(document: Any) -> None:
        VALIDATORS[kind].validate(document)
        message = _read(document)
        written = json.loads(encode(message).body)
        VALIDATORS[kind].validate(written)
        assert _read(written) == message

    check()


NAMED = "0197a2f4-7c00-7abc-8def-0123456789ab"
LENGTHS = ("x" * 64, "é" * 63, "é" * 64, "x" * 128, "x" * 129, "x" * 256, "x" * 2000, "x" * 2001)
ODD = ("", " ", " x", "x ", "x\n", "a\u200bb", "a\u00a0b", "\ud800", "\U0001f600", "true", "42", "x_y", "X", "aGk=")
QUEUES = ("phin.x", "amq.gen-x", "phin.")
DAYS = ("2026-02-30", "2026-11-22", "20261122", "0000-01-01", "0001-01-01", "9999-12-31")
TIMES = ("22T10:00:00Z", "22t10:00:00.1234567+23:59", "22T10:00:60Z", "22T24:00:00Z", "22 10:00:00Z", "22T10:00:00")
_odd_texts = st.sampled_from(
    [
        *ODD,
        *LENGTHS,
        *QUEUES,
        *DAYS,
        *(f"2026-11-{time}" for time in TIMES),
        NAMED,
        NAMED.upper(),
        NAMED.replace("-", ""),
    ]
)
_odd_numbers = st.sampled_from([0, -1, 1, 42.0, 42.5, 1e2, 1e300, -1e300, 10**6, 10**6 + 1, 2**31 - 1, 2**31, 10**400])
_odd_values = st.one_of(
    _odd_texts, _odd_texts, _odd_numbers, st.text(max_size=5), st.none(), st.booleans(), st.just([]), st.just({})
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, one in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from _places(one, (*path, key))


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_refused_by_both_or_by_none(kind: str) -> None:
    """Schema and worker agree on whatever stands in a field."""

    @PROPERTIES
    @given(DOCUMENTS[kind], st.data())
    def check(document: Any, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(list(_places(document))))
        assume(not {"period", "totals"}.intersection(path) or path[-1] in {"period", "totals"})
        copied = json.loads(json.dumps(document))
        place = copied
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = data.draw(_odd_values)
        assume(copied == _tidy(copied) or kind.endswith("checked.v1"))
        # An answer's schema promises fields that a reader does without.
        assume(place[path[-1]] != {} or KINDS[kind] in INPUTS)
        assert VALIDATORS[kind].is_valid(copied) == _is_accepted(copied), (path, place[path[-1]])

    check()


@pytest.mark.parametrize("version", range(9))
def test_a_uuid_of_any_version_is_an_id(version: int) -> None:
    """A client sends the UUIDs that its language makes, in any capitals: version 4 by most, 1 to 8 there are."""
    document = json.loads((FOLDER.parents[1] / "tests/unit/golden/mapping.changed.v1.json").read_bytes())
    named = str(UUID(int=uuid4().int & ~(0xF << 76) | version << 76))
    for text in (named, named.upper()):
        message = _read(document | {"id": text})
        assert (message.id, VALIDATORS[message.type].is_valid(document | {"id": text})) == (UUID(named), True)
    for text in (f"{{{named}}}", f"urn:uuid:{named}", named.replace("-", "")):
        assert not _is_accepted(document | {"id": text})
        assert not VALIDATORS["mapping.changed.v1"].is_valid(document | {"id": text})


def _fields(schema: Any) -> Iterator[tuple[str, Any]]:
    for name, part in {"": schema, **schema.get("$defs", {})}.items():
        for field, described in part["properties"].items():
            yield f"{name}.{field}", described


def _is_number(field: Any) -> bool:
    kinds = [one.get("type") for one in field.get("anyOf", [field])]
    return bool({"integer", "number"}.intersection(kinds))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind: str) -> None:
    """A developer who has only the schemas knows of each field what it is, how it looks and, of a number, its unit."""
    counted = ("id", "page", "sequence")
    for name, field in _fields(SCHEMAS[kind]):
        assert field["description"][0] in string.ascii_uppercase + "`", name
        if _is_number(field) and not name.endswith(counted):
            assert " Unit: " in field["description"], name
        (example,) = field["examples"]
        whole = {"$defs": SCHEMAS[kind].get("$defs", {}), **field}
        assert _Validator(whole, format_checker=_checker).is_valid(example), (name, example)
        assert example is not None
