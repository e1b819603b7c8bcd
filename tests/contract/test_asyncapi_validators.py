"""Programs of others understand docs/asyncapi.yaml: the published schema of AsyncAPI, and its parser."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from messages import INPUTS, KINDS, OUTPUTS, type_of
from tests.support import node
from tests.support.docs import ROOT
from worker.asyncapi.document import ANSWERS

DOCUMENT = ROOT / "docs" / "asyncapi.yaml"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with AsyncAPI's schemas and parser."""
    return node.installed(ROOT / "tests" / "node" / "asyncapi", tmp_path_factory.mktemp("node") / "asyncapi")


def _validator(programs: Path) -> Any:
    schema = programs / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.1.0.json"
    return jsonschema.Draft7Validator(json.loads(schema.read_bytes()))


def test_it_obeys_the_published_schema(programs: Path) -> None:
    """Each tool that reads AsyncAPI 3.1.0 reads it; a misspelt field of it would be found."""
    document = yaml.safe_load(DOCUMENT.read_text("utf-8"))
    validator = _validator(programs)
    assert [error.message for error in validator.iter_errors(document)] == []
    for operation in document["operations"].values():
        operation["mesages"] = operation.pop("messages")
    assert not validator.is_valid(document)


def test_the_parser_understands_it(programs: Path) -> None:
    """A generator of code gets each message with its fields, and each question with its answers."""
    (said,) = node.run(programs, "validate.mjs", str(DOCUMENT))
    assert said["found"] == []
    operations = said["operations"]
    assert len(operations) == len(KINDS)
    for kind in INPUTS + OUTPUTS:
        operation = operations[f"{'receive' if kind in INPUTS else 'send'}{kind.__name__}"]
        assert operation["messages"] == [type_of(kind)]
        assert operation["answers"] == [type_of(answer) for answer in ANSWERS.get(kind, ())]
        assert operation["fields"] == list(kind.model_fields)


def test_the_parser_finds_a_reference_that_leads_nowhere(programs: Path) -> None:
    """The parser does not pass a spoilt document, so its silence is worth something."""
    spoilt = programs / "spoilt.yaml"
    text = DOCUMENT.read_text("utf-8").replace("../messages/schemas/", f"{ROOT}/messages/schemas/")
    spoilt.write_text(text.replace("results/messages/sync.result.v1", "results/messages/sync.v1"), encoding="utf-8")
    (said,) = node.run(programs, "validate.mjs", str(spoilt))
    assert any("invalid-ref" in one for one in said["found"])
