"""The catalogue of problems: complete, current in the docs, and used as it says."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest

import worker
from worker.cli.display.wording import DETAILS, FIXES, TITLES
from worker.rules.pauses import PAUSES
from worker.rules.problems import CATALOGUE, MISSING_RIGHT, ProblemKind, one_line, problem
from worker.rules.problems_docs import page

ROOT = Path(__file__).parents[2]
WORKER = Path(worker.__file__).parent
CATALOGUE_FOLDER = WORKER / "rules" / "problems"


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(WORKER.rglob("*.py")):
        # The catalogue itself, its page, and its other wordings use no code.
        if path.parent != CATALOGUE_FOLDER and path.name not in {"problems_docs.py", "wording.py"}:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """The calls of `problem` with a code that is written out."""
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "problem":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield f"{path.name}:{node.lineno}", node


def _fields(entry: ProblemKind) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(entry.detail) if name is not None}


def test_the_docs_are_current() -> None:
    """docs/problems.md says what the code says; `make docs` writes it."""
    assert (ROOT / "docs" / "problems.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.code)
def test_every_problem_has_its_texts(entry: ProblemKind) -> None:
    """A reader of a problem learns what happened and what to do, in sentences, and in the docs too."""
    made = problem(entry.code, **dict.fromkeys(_fields(entry), "FILLED"))
    assert made.code == entry.code
    assert re.search(rf"^\| `{entry.code}` \|", page(), re.MULTILINE)
    for text in (made.detail, made.fix):
        assert text == "FILLED" or (len(text) > 15 and text[0].isupper() and text[-1] in ".D")
    assert not made.title.endswith(".")
    assert made.who is not None


def test_every_code_in_use_is_in_the_catalogue_with_its_fields() -> None:
    """No path ends in an error of ours instead of a problem, and no text is left with a gap."""
    for place, call in _calls():
        code = ast.literal_eval(call.args[0])
        assert code in CATALOGUE, place
        named = {keyword.arg for keyword in call.keywords} - {"said"}
        assert named == _fields(CATALOGUE[code]), place
    assert {*PAUSES, *MISSING_RIGHT.values()} <= set(CATALOGUE)


def test_no_code_in_the_catalogue_is_out_of_use() -> None:
    """The docs explain nothing that cannot happen."""
    written = {
        node.value
        for _, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(CATALOGUE) - written - set(MISSING_RIGHT.values()) - {"exhausted"} == set()


def test_the_command_line_has_words_for_known_codes_only() -> None:
    """A code that is renamed takes the words of the command line with it."""
    assert {*FIXES, *TITLES, *DETAILS} <= set(CATALOGUE)


def test_fields_are_shown_as_people_write_them() -> None:
    """Dates without a time, whole quantities without a point, lists with commas."""
    assert "2026-10-01." in problem("addition_cancelled", since=datetime(2026, 10, 1, 23, tzinfo=UTC)).detail
    assert "not set" in problem("addition_cancelled", since=None).detail
    assert "quantity 42 but shows 40.5" in problem("not_kept", wanted=42.0, got=40.5).detail
    assert "for: Acme, Initech." in problem("group_incomplete", missing=["Acme", "Initech"]).detail


def test_what_connectwise_says_is_kept_apart_short_and_printable() -> None:
    """Its words cannot be mistaken for ours, break a page, or fill it."""
    made = problem("record_refused", said="no\r\n\x1b[31m" + "x" * 5000)
    assert made.said is not None
    assert made.said.isprintable()
    assert len(made.said) == 500
    assert "x" not in made.detail
    assert one_line(made).endswith(f"ConnectWise said: {made.said}")
    assert problem("record_refused", said=" \n").said is None
