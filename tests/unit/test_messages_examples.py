"""The examples of the contract are what a platform meets: whole, valid, and in the worker's own words."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from cwclient import agreement_link
from messages import FINAL, INPUTS, KINDS, ConnectionChecked, LineStatus, Right, SyncResult, Totals, decode, encode
from messages.schemas import FOLDER, output_schema
from worker.rules.problems import CATALOGUE, COMPANY_INQUIRE, MISSING_RIGHT, problem
from worker.sync.completion import TERMS, term

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "messages.md").read_text("utf-8")
EXAMPLES: dict[str, Any] = {
    path.stem: json.loads(path.read_bytes()) for path in (DOCS / "examples" / "json").glob("*.json")
}
QUESTIONS = {one["id"]: one for one in EXAMPLES.values() if KINDS[one["type"]] in INPUTS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_whole_message(name: str) -> None:
    """A developer who copies it has every field, and the worker and the schema take it as it stands."""
    example = EXAMPLES[name]
    kind = name.partition("-")[0]
    schema = json.loads((FOLDER / f"{kind}.json").read_bytes())
    jsonschema.validate(example, schema, cls=jsonschema.Draft202012Validator)
    message = decode(json.dumps(example).encode(), type=kind, content_type="application/json")
    assert type(message) is KINDS[kind]
    assert json.loads(encode(message).body) == example


def test_the_page_links_schema_and_example_of_every_message() -> None:
    """No message is left out, and no link leads nowhere."""
    links = set(re.findall(r"\]\(([^)]+)\)", PAGE))
    assert all((DOCS / link).is_file() for link in links)
    assert {f"../messages/schemas/{kind}.json" for kind in KINDS} <= links
    assert {f"examples/json/{kind}.json" for kind in KINDS} <= links
    assert {f"examples/json/{name}.json" for name in EXAMPLES} <= links


@pytest.mark.parametrize("name", [name for name, one in EXAMPLES.items() if one["id"] not in QUESTIONS])
def test_an_answer_answers_a_question(name: str) -> None:
    """The examples tell one story: each answer follows from a question, and repeats what it asked about."""
    answer = EXAMPLES[name]
    question = QUESTIONS[answer["causation_id"]]
    for field in ("partner_id", "correlation_id", "push_id", "period", "changed_at", "kind", "cw_company_id"):
        if field in answer and field in question:
            assert answer[field] == question[field], field


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(one)


def test_the_problems_in_the_examples_are_ones_that_the_worker_tells() -> None:
    """Whoever builds a screen from the examples sees the words that coordinators will see."""
    told = [one for example in EXAMPLES.values() for one in _objects(example) if "fix" in one and "code" in one]
    assert told
    for one in told:
        entry = CATALOGUE[one["code"]]
        assert [one[name] for name in ("title", "fix", "where", "who")] == [
            getattr(entry, name) for name in ("title", "fix", "where", "who")
        ]
        assert re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(entry.detail)), one["detail"])
        assert entry.of_record or one["link"] is None


def test_the_page_says_of_each_status_where_it_is_counted() -> None:
    """A portal that adds up a push by the page adds up what the worker does."""
    rows = {one[0]: one[1:] for one in re.findall(r"^\| `(\w+)` \| (yes|no) \| (\S+) \| (.+) \|$", PAGE, re.MULTILINE)}
    assert rows.keys() == set(get_args(LineStatus))
    for status, (final, count, terms) in rows.items():
        assert (final == "yes") == (status in FINAL)
        if status not in FINAL:
            assert "`" not in count + terms
            continue
        meant = {term(status, changes=changes) for changes in (True, False)}
        assert (count.strip("`"), set(re.findall(r"`(\w+)`", terms))) == (status, meant)
    (summed,) = re.findall(r"^`imported` = (.+)$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", summed)) == set(TERMS.values()) == Totals.model_fields.keys() - {"imported"}


def _example(kind: type[Any], field: str) -> Any:
    (found,) = output_schema(kind)["properties"][field]["examples"]
    return found


def test_the_problem_in_the_schemas_is_one_that_the_worker_tells() -> None:
    """Code, words, screen, person and link of the example belong together."""
    example = _example(SyncResult, "problem")
    told = problem("record_refused", said=example["said"])
    link = agreement_link("https://na.myconnectwise.net", "acmemsp", 7)
    assert example == told.model_copy(update={"link": link}).model_dump(mode="json")
    assert CATALOGUE[told.code].of_record


def test_the_right_in_the_schemas_is_one_that_the_worker_tells() -> None:
    """The missing right of the example comes with the remedy for that right."""
    fix = CATALOGUE[MISSING_RIGHT[COMPANY_INQUIRE]].fix
    assert _example(ConnectionChecked, "rights") == [Right(right=COMPANY_INQUIRE, state="denied", fix=fix).model_dump()]
