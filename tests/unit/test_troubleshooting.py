"""docs/troubleshooting.md and the pages beside it name commands, events, metrics and codes that there are."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from messages import ContractReason, LineStatus
from tests.support.docs import PAGES, ROOT, prose
from worker.cli.command_list import COMMANDS
from worker.cli.implied_command import IMPLIED
from worker.health import Part
from worker.rules.problems import CATALOGUE

PAGE = ROOT / "docs" / "troubleshooting.md"
TEXT = PAGE.read_text("utf-8")
SECTIONS = re.findall(r"^### (.+?)\n(.+?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
OTHERS = {"sequence", "push.completed", "sqlalchemy.pool", "status", "health"}
"""A field, a message, a library, and commands."""


def _commands(page: Path) -> list[list[str]]:
    """The words of each `phin-connectwise …` in backticks of a page."""
    return [found.split() for found in re.findall(r"`phin-connectwise ([^`]+)`", prose(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_text_is_there_with_its_options(page: Path) -> None:
    """Whoever is in a hurry copies a command out of a sentence, and it runs."""
    for name, *words in _commands(page):
        if name.startswith("-"):
            continue
        command: Any = COMMANDS[name].load(name)
        if hasattr(command, "commands"):
            known = command.commands
            command = known[words[0]] if words and words[0] in known else known.get(IMPLIED, command)
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= options | {"--help"}, (name, *words)


def test_a_symptom_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    """Nobody is left with a name for what they see."""
    assert len(SECTIONS) >= 20
    for title, text in SECTIONS:
        marks = re.findall(r"^- (Means|Look|Do): ", text, re.MULTILINE)
        assert marks in (["Means", "Look", "Do"], ["Means", "Do"]), title


def test_events_metrics_and_codes_are_those_of_the_worker() -> None:
    """Everything that the page tells to look for can be found."""
    events = _firsts("log-events.md") | {f"{part}.{state}" for part in get_args(Part) for state in ("trouble", "fine")}
    codes = {*get_args(LineStatus), *get_args(Part), *get_args(ContractReason), *CATALOGUE, *_firsts("operator.md")}
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)`", TEXT))
    metrics = {name for name in named if name.startswith(("phin_connectwise_", "messaging_"))}
    assert metrics <= _firsts("metrics.md")
    assert named - metrics - events - codes - OTHERS == set()


def _firsts(page: str) -> set[str]:
    """The words in the first column of a page's tables."""
    rows = re.findall(r"^\| ((?:`[a-z_.]+`(?:, )?)+)[ :]", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"[a-z_.]+", row)}
