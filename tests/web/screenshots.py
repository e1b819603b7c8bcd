"""Makes the pictures of the portal's pages in docs/images: `make screenshots`. Look at each one."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Page

from store import Database
from store.migrate import upgrade
from tests.support.browser import chromium
from tests.support.portal import portal
from tests.support.world import World
from worker.cli import sample

WIDTHS = {360: 740, 1280: 800}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main(folder: Path) -> None:
    """Walk through the portal and take each page in each width and scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, _world() as world, portal(world, browser, world.folder) as opened:
        _take(opened.page, "/", folder / "first")
        opened.open()
        _take(opened.page, None, folder / "connect-form")
        opened.coordinator.connect()
        opened.coordinator.run("mapping", "import", _mappings(world.folder), code=1)
        opened.open("/portal/connect")
        _take(opened.page, None, folder / "connect")
        opened.open("/portal/companies?period=2026-11")
        opened.take_counts()
        opened.click("Suggest for")
        opened.sees("same name")
        opened.open("/portal/companies?period=2026-11")
        _take(opened.page, None, folder / "companies")
        opened.click("Preview the push")
        opened.ends()
        _take(opened.page, None, folder / "preview")
        opened.click("Push to ConnectWise")
        opened.ends()
        _take(opened.page, None, folder / "push")
        for path, name in (("history", "history"), ("ledger", "ledger"), ("proof?company=c-101", "proof")):
            opened.open(f"/portal/{path}")
            _take(opened.page, None, folder / name)
        opened.open("/portal/company?company=c-110")
        _take(opened.page, None, folder / "company")


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
