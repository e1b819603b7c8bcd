"""axe-core, which finds what keeps people from using a page: run in the page itself, in each scheme of colours."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

from playwright.sync_api import Page

from tests.support import node

PROGRAM = Path(__file__).parents[1] / "node" / "axe"

Scheme = tuple[Literal["light", "dark"], Literal["active", "none"]]
LIGHT: tuple[Scheme, ...] = (("light", "none"),)
ALL: tuple[Scheme, ...] = (*LIGHT, ("dark", "none"), ("light", "active"))


class Audit(Protocol):
    """Fails the test for any finding, of whatever impact, on a page in these schemes of colours."""

    def __call__(self, page: Page, state: str, schemes: Iterable[Scheme] = ALL) -> None:
        """Look at the page as it is."""


_RUN = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
  (one) => `${one.impact} ${one.id}: ${one.nodes.map((node) => node.html + " " + node.failureSummary).join(" | ")}`)"""


def auditor(folder: Path) -> Audit:
    """Get axe-core into a folder."""
    source = (node.installed(PROGRAM, folder) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")

    def audit(page: Page, state: str, schemes: Iterable[Scheme] = ALL) -> None:
        for scheme, forced in schemes:
            page.emulate_media(color_scheme=scheme, forced_colors=forced)
            # Evaluated from outside, as the policy of the page lets it load no script of others; at once, since a page
            # that follows something may be loaded anew at any time.
            found: list[Any] = page.evaluate(f"{source};({_RUN})()")
            assert not found, f"{state}, {scheme}, forced colours {forced}: {found}"
        page.emulate_media(color_scheme="light", forced_colors="none")

    return audit
