"""The JSON Schemas beside the models."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from messages import INPUTS, OUTPUTS, type_of
from messages.schemas import FOLDER, schemas

GOLDEN = Path(__file__).parent / "golden"


def _schema(kind: str) -> Any:
    return json.loads((FOLDER / f"{kind}.json").read_bytes())


def test_the_schemas_are_current() -> None:
    """The files say what the code does; `make schemas` writes them."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == schemas()


@pytest.mark.parametrize("kind", [type_of(kind) for kind in INPUTS + OUTPUTS])
def test_a_sample_obeys_its_schema(kind: str) -> None:
    """A platform that is not written in Python can check its messages against the schemas."""
    jsonschema.Draft202012Validator.check_schema(_schema(kind))
    jsonschema.validate(json.loads((GOLDEN / f"{kind}.json").read_bytes()), _schema(kind))


@pytest.mark.parametrize("kind", [type_of(kind) for kind in INPUTS])
def test_an_input_schema_finds_what_a_sender_forgot_or_misspelt(kind: str) -> None:
    """The whole envelope is required, and no other field is allowed."""
    sample = json.loads((GOLDEN / f"{kind}.json").read_bytes())
    for bad in ({**sample, "added": 1}, *({k: v for k, v in sample.items() if k != name} for name in ("id", "time"))):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, _schema(kind))


@pytest.mark.parametrize("kind", [type_of(kind) for kind in OUTPUTS])
def test_an_output_schema_allows_later_fields(kind: str) -> None:
    """A platform that validates results does not break when the worker adds a field."""
    sample = json.loads((GOLDEN / f"{kind}.json").read_bytes())
    jsonschema.validate(sample | {"added_later": 1}, _schema(kind))
