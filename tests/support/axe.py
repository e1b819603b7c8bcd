"""axe-core, which looks for barriers in a page; no finding of any impact is taken."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.support import node
from tests.support.forked import ROOT


class Axe:
    """The newest axe-core of npm, as its lock file names it."""

    def __init__(self, folder: Path) -> None:
        found = node.installed(ROOT / "tests" / "node" / "axe", folder / "axe")
        self._script = (found / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")

    def findings(self, page: Page) -> list[str]:
        """What axe finds in the page as it is now, in words; the window is opened with `bypass_csp`."""
        page.evaluate(self._script)
        found: dict[str, Any] = page.evaluate("axe.run()")
        return [
            f"{one['id']} ({one['impact']}): {first['html'][:200]} {first.get('failureSummary', '')}"
            for one in found["violations"]
            for first in one["nodes"][:1]
        ]
