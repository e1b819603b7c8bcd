"""A platform of today goes on with tomorrow's worker: schemas are compared with those of each release."""

import json
import tomllib
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import pytest

from messages import INPUTS, KINDS, type_of
from messages.schemas import FOLDER
from tests.support.compatibility import incompatible
from tests.support.docs import ROOT

RELEASES = {folder.name: folder for folder in sorted((FOLDER / "released").iterdir())}
RELEASED = [(release, path.stem) for release, folder in RELEASES.items() for path in sorted(folder.glob("*.json"))]
EVENTS = {type_of(kind) for kind in INPUTS}

Mutation = Callable[[Any], object]


def _role(kind: str) -> Literal["serializer", "deserializer"]:
    return "deserializer" if kind in EVENTS else "serializer"


def _current(kind: str) -> Any:
    return json.loads((FOLDER / f"{kind}.json").read_bytes())


def test_the_version_has_frozen_schemas() -> None:
    """A release is not made without the schemas that later ones are compared with; `make freeze` keeps them."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version in RELEASES


@pytest.mark.parametrize(("release", "kind"), RELEASED)
def test_the_schemas_are_compatible_with_each_release(release: str, kind: str) -> None:
    """The worker reads what platforms of that release write, and writes what they read; no kind has gone."""
    assert kind in KINDS
    released = json.loads((RELEASES[release] / f"{kind}.json").read_bytes())
    assert incompatible(released, _current(kind), _role(kind)) == []


def _add(schema: Any, name: str, field: Any, *, required: bool = False) -> None:
    schema["properties"][name] = field
    schema["required"] += [name] * required


def _drop(schema: Any, name: str) -> None:
    del schema["properties"][name]
    schema["required"] = [one for one in schema["required"] if one != name]


def _nullable(schema: Any, name: str) -> None:
    schema["properties"][name] = {"anyOf": [schema["properties"][name], {"type": "null"}]}


TEXT = {"type": "string"}

REFUSED: dict[str, tuple[str, Mutation]] = {
    "an event needs a new field": ("push.requested.v1", lambda one: _add(one, "reason", TEXT, required=True)),
    "an event loses a field": ("push.requested.v1", lambda one: _drop(one, "connection_changed_at")),
    "an event loses a choice": ("push.requested.v1", lambda one: one["properties"]["mode"]["enum"].remove("preview")),
    "an event's list is shorter": ("push.requested.v1", lambda one: one["properties"]["lines"].update(maxItems=5_000)),
    "an event's pattern changes": ("push.requested.v1", lambda one: one["properties"]["push_id"].update(pattern="^p-")),
    "an event's condition changes": ("mapping.changed.v1", lambda one: one["anyOf"].pop()),
    "a result loses a field": ("sync.result.v1", lambda one: _drop(one, "attempts")),
    "a result has a new choice": ("sync.result.v1", lambda one: one["properties"]["status"]["enum"].append("parked")),
    "a result may be null": ("sync.result.v1", lambda one: _nullable(one, "attempts")),
    "a field of a part has gone": ("sync.result.v1", lambda one: _drop(one["$defs"]["Problem"], "fix")),
}

ACCEPTED: dict[str, tuple[str, Mutation]] = {
    "an event may have a new field": ("push.requested.v1", lambda one: _add(one, "reason", TEXT)),
    "an event needs a field no more": ("push.requested.v1", lambda one: one["required"].remove("requested_by")),
    "an event has a new choice": ("push.requested.v1", lambda one: one["properties"]["mode"]["enum"].append("test")),
    "an event's list is longer": ("push.requested.v1", lambda one: one["properties"]["lines"].update(maxItems=20_000)),
    "an event may be null": ("push.requested.v1", lambda one: _nullable(one, "requested_by")),
    "other words": ("mapping.changed.v1", lambda one: one["properties"]["company_id"].update(description="Which.")),
    "a result has a new field": ("sync.result.v1", lambda one: _add(one, "tax", TEXT, required=True)),
    "a result loses a choice": ("sync.result.v1", lambda one: one["properties"]["mode"]["enum"].remove("revert")),
    "a part has a new field": ("sync.result.v1", lambda one: _add(one["$defs"]["Problem"], "step", TEXT)),
}


@pytest.mark.parametrize(("kind", "mutation"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_platform_is_found(kind: str, mutation: Mutation) -> None:
    """A maintainer who breaks version 1 learns it before a platform does."""
    changed = deepcopy(_current(kind))
    mutation(changed)
    assert incompatible(_current(kind), changed, _role(kind))


@pytest.mark.parametrize(("kind", "mutation"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_policy_allows_is_not_refused(kind: str, mutation: Mutation) -> None:
    """A maintainer may add to version 1 what docs/compatibility.md allows."""
    changed = deepcopy(_current(kind))
    mutation(changed)
    assert incompatible(_current(kind), changed, _role(kind)) == []
