"""The documentation holds together: links, names of files, commands, and what it says of the code."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from messages import ContractReason, LineStatus
from store.migrate import newest_revision
from tests.support.docs import NOT_RUN, PAGES, ROOT, RUN, Block, anchors, blocks, prose
from worker.cli import exits
from worker.health import Part
from worker.settings import Settings

DOCS = ROOT / "docs"
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
NAMED_FILE = r"`([\w./-]+\.(?:py|md|mjs|json|toml|yml|yaml|lock|csv))`"
NAMED_FOLDER = r"`((?:worker|store|messages|cwclient|tests|docs|deploy)/[\w./-]*)`"
BLOCKS = [block for page in PAGES for block in blocks(page)]
A_READERS = {"counts.csv", "mappings.csv", "ledger.csv", "suggested.csv"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A reader who follows a link within the repository arrives at a file and, if it names one, at a heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """A page that names a file of the code is right about where that is."""
    text = page.read_text("utf-8")
    named = {*re.findall(NAMED_FILE, text), *re.findall(NAMED_FOLDER, text)} - A_READERS
    missing = {name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()}
    assert missing == set()


def test_the_readme_is_short_and_names_every_page() -> None:
    """A newcomer reads the README to its end, and finds everything else from there."""
    readme = ROOT / "README.md"
    assert len(readme.read_text("utf-8").splitlines()) <= 150
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)\s#]+)\)", prose(readme))}
    assert {page for page in PAGES if page != readme} <= linked


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.page.name)
def test_every_block_of_commands_is_run_or_says_why_not(block: Block) -> None:
    """No command in the docs is there untried: it runs in a test, or its block says why it does not."""
    assert block.language in {"sh", "python", "json", "mermaid", "text"}, block
    assert block.is_run or block.language != "sh" or len(block.note) > len(NOT_RUN), block
    assert not block.is_run or block.page in RUN, f"{block.page.name} is none of the pages whose commands are run"
    if block.language == "text":
        assert not re.search(r"^(make|docker|pip|git|phin-connectwise) ", block.text, re.MULTILINE), block


def test_code_in_the_docs_is_a_part_of_an_example() -> None:
    """Code that a reader copies from a page is code that a test has run."""
    examples = [path.read_text("utf-8") for path in (DOCS / "examples").glob("*.py")]
    for block in (block for block in BLOCKS if block.language == "python"):
        assert any(block.text in example for example in examples), block


def test_json_in_the_docs_is_an_example() -> None:
    """JSON that a reader copies from a page is a whole message that the worker takes."""
    examples = {path.read_text("utf-8") for path in (DOCS / "examples" / "json").glob("*.json")}
    shown = {block.text for block in BLOCKS if block.language == "json"}
    assert shown
    assert shown <= examples


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "architecture.md"], ids=lambda page: page.name)
def test_a_platform_knows_all_that_the_contract_needs(page: Path) -> None:
    """Whoever copies the folder `messages/` alone finds behind it every library to install."""
    imported = set()
    for path in (ROOT / "messages").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    (named,) = re.findall(r"^messages/ {2,}the contract {2,}(.+)$", page.read_text("utf-8"), re.MULTILINE)
    needed = imported - {*sys.stdlib_module_names, "messages", "pydantic_core"}  # which pydantic brings
    assert {{"PyNaCl": "nacl"}.get(library, library) for library in named.split(", ")} == needed


def test_the_page_of_messages_has_every_reason_of_a_refusal() -> None:
    """An operator who meets a reason among the dead letters finds what it means."""
    page = (DOCS / "messages.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`[a-z0-9_]+`(?:, )?)+) \| (?:is|has|says|does) ", page, re.MULTILINE)
    assert {reason for row in rows for reason in re.findall(r"`(\w+)`", row)} == set(get_args(ContractReason))


def test_every_make_target_in_the_docs_is_there() -> None:
    """`make …` of a page is a target of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make (\w+)", page.read_text("utf-8"), re.MULTILINE)}
    assert named <= targets


def test_the_operators_guide_has_every_setting_and_exit_code() -> None:
    """An operator who configures the worker finds all settings in one table, and no setting that is gone."""
    page = (DOCS / "operator.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", page, re.MULTILINE)
    named = {name.lower() for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(Settings.model_fields)
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    (sentence,) = re.findall(r"^Exit codes of all commands: (.+?)\.$", page, re.MULTILINE | re.DOTALL)
    assert {int(code) for code in re.findall(r"\b\d+\b", sentence)} == codes | {0}


def test_the_changelog_names_the_version_of_the_tables() -> None:
    """Whoever upgrades sees whether workers may go on meanwhile."""
    _, newest, *_ = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    assert re.findall(r"tables of version (\w+)", newest) == [newest_revision()]


# --- log-events.md


def _logged() -> Iterator[tuple[str, str]]:
    """(event, level) of each line that is logged; `*` stands for what is filled in."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                yield from _logged_by(function)


def _logged_by(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    filled = {
        ast.unparse(node.targets[0]): _pattern(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr)
    }
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[event, *_]):
                name = str(event.value) if isinstance(event, ast.Constant) else filled[ast.unparse(event)]
                yield name, "error" if level == "exception" else level


def _pattern(text: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in text.values)


def test_the_page_of_log_events_has_what_the_code_logs() -> None:
    """An operator who sets an alarm on an event finds each with its level, and none that is gone."""
    page = (DOCS / "log-events.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.*]+)` \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert {(name, level) for name, level, _ in rows} == set(_logged())
    for word in (*get_args(LineStatus), *get_args(Part)):
        assert f"`{word}`" in page


# --- glossary.md and decisions.md


def test_the_glossary_has_its_words_in_order() -> None:
    """A reader finds a word where the alphabet has it."""
    words = re.findall(r"^\*\*(.+?)\*\*", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
    assert len(words) >= 25
    assert words == sorted(words, key=str.casefold)


def test_every_decision_is_dated_and_in_the_index() -> None:
    """A reader finds each decision by the index, and sees how old it is."""
    page = DOCS / "decisions.md"
    text = page.read_text("utf-8")
    index, *entries = re.split(r"^### ", text, flags=re.MULTILINE)
    titles = [entry.partition("\n")[0] for entry in entries]
    assert re.findall(r"^- \[(.+)\]\(#", index, re.MULTILINE) == titles
    assert all(re.match(r".+\n\n\d{4}-\d\d-\d\d\. ", entry) for entry in entries)


def test_the_asks_of_other_consoles_users_have_their_tests() -> None:
    """Each ask names a test that is there."""
    rows = re.findall(r"^\| (\d+) .*\| (.*) \|$", (DOCS / "console.md").read_text("utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 16))
    for _, tests in rows:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests):
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), name
