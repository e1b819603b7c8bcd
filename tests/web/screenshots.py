"""Makes the pictures of the pages in docs/images: `make screenshots`. Look at each one."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Page

from store import Database
from store.migrate import upgrade
from tests.integration.test_corrections import LETTER as WRONG_LETTER
from tests.integration.test_store_dead_letters import numbered
from tests.support.browser import chromium, opened
from tests.support.console import console_of, fill
from tests.support.portal import portal
from tests.support.world import World
from worker.cli import sample
from worker.coordination.sending import Sender
from worker.web.site import Site

WIDTHS = {360: 740, 1280: 800}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main(folder: Path) -> None:
    """Walk through the portal and take each page in each width and scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, _world() as world, portal(world, browser, world.folder) as visited:
        _take(visited.page, "/", folder / "first")
        visited.open()
        _take(visited.page, None, folder / "connect-form")
        visited.coordinator.connect()
        visited.coordinator.run("mapping", "import", _mappings(world.folder), code=1)
        visited.open("/portal/connect")
        _take(visited.page, None, folder / "connect")
        visited.open("/portal/companies?period=2026-11")
        visited.take_counts()
        visited.click("Suggest for")
        visited.sees("same name")
        visited.open("/portal/companies?period=2026-11")
        _take(visited.page, None, folder / "companies")
        visited.click("Preview the push")
        visited.ends()
        _take(visited.page, None, folder / "preview")
        visited.click("Push to ConnectWise")
        visited.ends()
        _take(visited.page, None, folder / "push")
        for path, name in (("history", "history"), ("ledger", "ledger"), ("proof?company=c-101", "proof")):
            visited.open(f"/portal/{path}")
            _take(visited.page, None, folder / name)
        visited.open("/portal/company?company=c-110")
        _take(visited.page, None, folder / "company")


def take_console(folder: Path) -> None:
    """Take each page of the console, with something on it."""
    with chromium() as browser, _world() as world, Sender(world.settings, world.database) as sender:
        actions = fill(world.database)
        site = Site(world.settings, world.database, sender, None)
        pages = {
            "now": "now",
            "letters": "letters",
            "groups": "letters/groups",
            "letter": f"letters/one?id={numbered(3).id}",
            "correct": f"letters/correct?id={WRONG_LETTER.id}",
            "actions": "operations",
            "action": f"operations/one?id={actions['stopped']}",
            "partners": "partners",
            "partner": "partners/one?partner=p1",
        }
        with console_of(site) as address, opened(browser, address) as page:
            for name, path in pages.items():
                _take(page, f"/console/{path}", folder / f"console-{name}")
            page.goto("/console/letters/groups")
            page.get_by_role("button", name="Replay the group").first.click()
            _take(page, None, folder / "console-dry-run")


def _take(page: Page, path: str | None, name: Path) -> None:
    if path is not None:
        page.goto(path)
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=name.with_name(f"{name.name}-{width}-{scheme}.png"))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light")


def _mappings(folder: Path) -> Path:
    """The sample's mappings without those that can be suggested for three companies."""
    lines = sample.MAPPINGS.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("c-103", "c-107", "c-117"))]
    file = folder / "mappings.csv"
    file.write_text("\n".join(kept), "utf-8")
    return file


@contextmanager
def _world() -> Iterator[World]:
    with TemporaryDirectory() as name:
        url = f"sqlite:///{name}/store.db"
        with closing(Database(url)) as database:
            upgrade(database)
        with World("local:", url, Path(name), big_jump_count=20) as world:
            yield world


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    take_console(Path(sys.argv[1]))
