"""The pages of the documentation, taken apart: fenced blocks, links, names in backticks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

RUN = (ROOT / "README.md", ROOT / "docs" / "coordinator.md", ROOT / "docs" / "operator.md")
"""The pages whose commands are run, in the order in which a reader types them."""

NOT_RUN = "not run: "


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words behind that, and its text."""

    page: Path
    language: str
    note: str
    text: str

    @property
    def is_run(self) -> bool:
        """True if its commands are to run as they stand."""
        return self.language == "sh" and not self.note.startswith(NOT_RUN)


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = re.findall(r"^```(\S*) ?([^\n]*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(page, language, note, text) for language, note, text in found]


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the fragments that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
