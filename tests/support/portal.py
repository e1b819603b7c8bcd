"""A coordinator in the portal, in a real browser. Every click, key and chosen file counts as an interaction."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import opened
from tests.support.coordinator import Coordinator
from tests.support.served import served
from tests.support.waiting import within
from tests.support.world import PRIVATE_KEY, World
from worker.cli import sample
from worker.setting_names import PREFIX


@dataclass
class Portal:
    """The pages of one partner in a window of a browser."""

    page: Page
    coordinator: Coordinator
    interactions: int = 0

    def open(self, path: str = "/portal") -> None:
        """Open a page of the partner."""
        self.page.goto(f"{path}{'&' if '?' in path else '?'}partner={self.coordinator.partner}")

    def click(self, name: str, *, within: Locator | None = None) -> None:
        """Click what has this name: a button, else a link."""
        self.interactions += 1
        root = within or self.page.locator("body")
        button = root.get_by_role("button", name=name)
        (button if button.count() else root.get_by_role("link", name=name)).first.click()

    def fill(self, label: str, text: str) -> None:
        """Fill a field."""
        self.interactions += 1
        self.page.get_by_label(label, exact=True).fill(text)

    def sees(self, text: str) -> None:
        """Wait until the page shows this text."""
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=within(30_000))

    def connect(self, private_key: str = PRIVATE_KEY, company_id: str | None = None) -> None:
        """Fill the form and send it."""
        simulator = self.coordinator.world.simulator
        assert simulator.ca_file is not None
        self.fill("Company ID", company_id or self.coordinator.tenant)
        self.fill("ConnectWise API URL", simulator.url)
        self.fill("Public Key", "public")
        self.fill("Private Key", private_key)
        if self.page.locator("form details:not([open])").count():
            self.page.get_by_text("A server of your own").click()
        self.page.get_by_label("Certificate of the authority (PEM)").fill(simulator.ca_file.read_text("utf-8"))
        self.click("Connect", within=self.page.locator("main form"))

    def take_counts(self, file: Path = sample.COUNTS) -> None:
        """Choose a file of counts, which imports it."""
        self.interactions += 1
        self.page.set_input_files("input[name=counts]", file)
        self.page.wait_for_selector("table")

    def row(self, company: str) -> Locator:
        """The row of a company."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader").filter(has_text=company))

    def choose(self, company: str, label: str, typed: str) -> None:
        """Choose in a drop-down of a company's row: open it, type a part of the name, take the first that is found."""
        field = self.page.get_by_role("combobox", name=f"{label} for {company}")
        field.focus()
        field.press_sequentially(typed)
        self.page.locator("[role=option][aria-selected=true]").filter(has_text=typed).wait_for()
        field.press("Enter")
        self.interactions += 3
        expect(field).to_have_attribute("value", re.compile(re.escape(typed)), timeout=within(10_000))
        expect(self.row(company).locator("[data-saved]")).to_be_visible()

    def push(self) -> None:
        """Preview, look, push, and wait for the end."""
        self.click("Preview the push")
        self.sees("The preview is complete")
        self.click("Push to ConnectWise")
        self.ends()

    def ends(self) -> None:
        """Wait until the push of this page has ended."""
        expect(self.page.locator("#push [data-over]")).to_be_attached(timeout=within(60_000))

    def status(self, company: str) -> str:
        """The Sync Status that the row of a company shows."""
        return self.row(company).get_by_role("cell").last.inner_text()


@contextmanager
def portal(world: World, browser: Browser, folder: Path, **window: object) -> Iterator[Portal]:
    """Serve the pages of the world's installation, with a worker, and open a window."""
    settings = {
        name.removeprefix(PREFIX): value for name, value in world.environment.items() if name.startswith(PREFIX)
    }
    if not world.settings.is_embedded:
        world.start_worker()
    coordinator = Coordinator(world, "p1", folder)
    with served(folder, settings) as url, opened(browser, url, **window) as page:
        yield Portal(page, coordinator)
