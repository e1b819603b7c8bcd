"""Everybody can use the portal: axe-core finds nothing on any page, and the keyboard alone is enough."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import Audit, auditor
from tests.support.browser import opened
from tests.support.portal import Portal
from tests.support.served import served
from tests.support.visitors import PASSWORD
from worker.cli import sample
from worker.setting_names import PREFIX


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Audit a page."""
    return auditor(tmp_path_factory.mktemp("axe") / "axe")


def test_no_finding_on_the_first_pages(in_portal: Portal, audit: Audit) -> None:
    """Each page is fit for screen readers, empty, full and with a mistake, light, dark and with forced colours."""
    page = in_portal.page
    page.goto("/")
    audit(page, "first page")
    in_portal.open()
    audit(page, "connect, empty")
    in_portal.open("/portal/companies")
    audit(page, "companies, empty")
    in_portal.open("/portal/history")
    audit(page, "history, empty")
    in_portal.open("/portal/nothing")
    audit(page, "no such page")
    in_portal.open("/portal/connect")
    in_portal.connect(company_id="x" * 200)
    in_portal.sees("Nothing was saved")
    audit(page, "connect, mistake")
    in_portal.connect("a wrong key")
    in_portal.sees("ConnectWise refused the keys")
    audit(page, "connect, failed")
    in_portal.click("Correct it")
    in_portal.connect()
    in_portal.sees("Finance > Agreements: Edit (All)")
    page.locator("summary").click()
    audit(page, "connect, full")


def test_no_finding_on_companies_pushes_and_history(in_portal: Portal, audit: Audit) -> None:
    """So are the pages of companies, pushes and writes."""
    page = in_portal.page
    in_portal.coordinator.connect()
    in_portal.coordinator.run("mapping", "import", sample.MAPPINGS, code=1)
    in_portal.open("/portal/companies")
    page.set_input_files("input[name=counts]", {"name": "bad.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    in_portal.sees("Nothing was imported")
    audit(page, "companies, mistake")
    in_portal.take_counts()
    in_portal.sees("Not mapped")
    in_portal.click("Suggest for")
    in_portal.sees("Accept")
    audit(page, "companies, full")
    page.get_by_role("combobox", name="ConnectWise company for Hollis").click()
    page.locator("[role=option]").first.wait_for()
    audit(page, "companies, drop-down")
    page.keyboard.press("Escape")
    in_portal.open("/portal/companies?search=nobody")
    audit(page, "companies, nothing found")
    in_portal.open("/portal/company?company=c-101&kind=agreements")
    audit(page, "company")
    in_portal.open("/portal/companies")
    in_portal.click("Preview the push")
    in_portal.ends()
    audit(page, "preview")
    in_portal.click("Push to ConnectWise")
    in_portal.ends()
    for summary in page.locator("details > summary").all():
        summary.click()
    audit(page, "push")
    in_portal.open("/portal/companies")
    audit(page, "companies, pushed")
    for path in ("/portal/history", "/portal/ledger", "/portal/proof?company=c-101"):
        in_portal.open(path)
        audit(page, path)
    page.keyboard.press("?")
    audit(page, "keys")


def test_no_finding_on_the_login(in_portal: Portal, browser: Browser, file_of_users: Path, audit: Audit) -> None:
    """So is the page to sign in, also after a mistake."""
    world = in_portal.coordinator.world
    settings = {
        name.removeprefix(PREFIX): value for name, value in world.environment.items() if name.startswith(PREFIX)
    }
    folder = in_portal.coordinator.folder / "users"
    folder.mkdir()
    with served(folder, settings, "--users", str(file_of_users)) as url, opened(browser, url) as page:
        page.goto("/portal/companies")
        audit(page, "login")
        _sign_in(page, "wrong password")
        expect(page.get_by_text("Name or password is wrong.")).to_be_visible()
        audit(page, "login, mistake")
        _sign_in(page, PASSWORD)
        expect(page.get_by_role("heading", name="Companies")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def _sign_in(page: Page, password: str) -> None:
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


# Withholds the answers to accepted suggestions, as a slow network does.
WITHHOLD = """() => { const fetched = window.fetch; window.fetch = async (...asked) => {
  const answer = await fetched(...asked);
  if (String(asked[0].url || asked[0]).includes("/suggestions/accept")) await new Promise(() => {});
  return answer;
}; }"""


def test_the_next_suggestion_has_the_focus_also_without_an_answer(in_portal: Portal) -> None:
    """A worker may store an accepted suggestion, and its row be replaced, before the answer to the click is read."""
    page = in_portal.page
    in_portal.coordinator.connect()
    in_portal.open("/portal/companies")
    in_portal.take_counts()
    in_portal.click("Suggest for")
    in_portal.sees("same name")
    page.evaluate(WITHHOLD)
    first, second = page.locator("[data-accept]").all()[:2]
    after = second.get_attribute("aria-label")
    label = first.get_attribute("aria-label")
    first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=label)).to_have_count(0)
    expect(page.get_by_role("button", name=after)).to_be_focused()


def test_the_keyboard_alone_is_enough(in_portal: Portal) -> None:
    """Connect, map by list and by suggestion, preview and push without a mouse; keys never act while one types."""
    page, press = in_portal.page, in_portal.page.keyboard.press
    _connect_by_keyboard(in_portal)
    in_portal.take_counts()
    press("j")
    press("j")
    expect(page.locator("tr:focus-within")).to_contain_text("Cartwright")
    press("k")
    expect(page.locator("tr:focus-within")).to_contain_text("Whitcomb")
    press("Tab")
    for typed in ("whitcomb", "managed", "phin"):
        page.keyboard.type(typed)
        page.locator("[role=option][aria-selected=true]").wait_for()
        field = page.evaluate("document.activeElement.getAttribute('aria-label')")
        press("Enter")
        expect(page.get_by_role("combobox", name=field)).to_have_attribute("value", re.compile("."))
    press("Escape")
    press("Escape")
    _tab_to(page, "form[action*=suggestions] button")
    press("Enter")
    in_portal.sees("same name")
    _tab_to(page, "[data-accept]")
    for _ in range(3):
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        press("Enter")
        expect(page.get_by_role("button", name=label)).to_have_count(0)
        expect(page.locator("[data-accept]:focus")).to_have_count(1)
    press("/")
    page.keyboard.type("jk?/")
    expect(page.locator("[data-search]")).to_have_value("jk?/")
    expect(page.locator("#keys")).not_to_be_visible()
    page.locator("[data-search]").fill("")
    press("Tab")
    _tab_to(page, ".bar button")
    press("Enter")
    in_portal.ends()
    _tab_to(page, ".bar button.primary")
    press("Enter")
    in_portal.ends()
    assert in_portal.coordinator.quantity(7125) == 88


def _connect_by_keyboard(in_portal: Portal) -> None:
    page, press = in_portal.page, in_portal.page.keyboard.press
    in_portal.open()
    simulator = in_portal.coordinator.world.simulator
    assert simulator.ca_file is not None
    _tab_to(page, "#company_identifier")
    for text in (in_portal.coordinator.tenant, simulator.url, "public", "private-key-of-the-test"):
        page.keyboard.insert_text(text)
        press("Tab")
    press("Enter")
    press("Tab")
    page.keyboard.insert_text(simulator.ca_file.read_text("utf-8"))
    press("Tab")
    press("Enter")
    in_portal.sees("Go on to Companies")
    _tab_to(page, "a.primary")
    press("Enter")
    in_portal.sees("No company yet")


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(200):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab does not reach {selector}")
