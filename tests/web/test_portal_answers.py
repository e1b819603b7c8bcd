"""The answers of the portal: hostile files change nothing, a private key never comes back, other forms of use work."""

import io
import zipfile
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, expect

from store import Database, portal
from tests.support.browser import opened
from tests.support.portal import Portal
from tests.support.visitors import Visitor
from worker.cli import sample
from worker.web.site import Site
from worker.web.table import PAGES

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"])
HEADER = "company_id,company_name,billable_users\n"
FORM = "/portal/connect?partner=msp-1&change=1"
KEY = "a-private-key-that-must-not-come-back"


def _bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", bytes(80 * 2**20))
    return packed.getvalue()


@on_sqlite
@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (_bomb, 422, "larger than 64 MiB unpacked"),
        (lambda: HEADER.encode() + b"c-1,Acme,=1+1\n", 422, "billable_users"),
        (lambda: HEADER.encode() + b"".join(b"c-%d,Acme,1\n" % n for n in range(1_000_000)), 422, "at most 10,000"),
        (lambda: HEADER.encode() + b"c-1,Acme,1\n" * 2_000_000, 413, "too large"),
        (lambda: b"\x00\xff" * 500, 422, "counts.csv"),
        (lambda: b"PK\x03\x04 broken", 422, "damaged"),
        (HEADER.encode, 422, "no row below the header"),
    ],
    ids=["zip bomb", "formula", "a million rows", "22 MB", "bytes", "damaged workbook", "empty"],
)
def test_a_hostile_file_changes_nothing(
    local_site: Site, database: Database, content: Callable[[], bytes], status: int, said: str
) -> None:
    """A file that is too large, malformed or hostile gets a message, and the counts before it stay."""
    visitor = Visitor(local_site)
    path = "/portal/counts?partner=msp-1"
    good = {"counts": ("counts.csv", f"{HEADER}c-1,Acme,4\n".encode())}
    assert visitor.post(path, {"period": "2026-11"}, page=FORM, files=good).status_code == 303
    answer = visitor.post(path, {"period": "2026-11"}, page=FORM, files={"counts": ("counts.csv", content())})
    assert (answer.status_code, said in answer.text) == (status, True), answer.text[:3000]
    with database.begin() as tx:
        assert [line.billable_users for line in portal.counts(tx, "msp-1", "2026-11")] == [4]


@on_sqlite
def test_a_private_key_never_comes_back(local_site: Site) -> None:
    """Neither the answer to the form, be it refused or not, nor any page afterwards holds the key."""
    visitor = Visitor(local_site)
    fields = {"site_url": "https://na.example", "company_identifier": "acme", "public_key": "public"}
    path = "/portal/connect?partner=msp-1"
    answers = [
        visitor.post(path, fields | {"private_key": KEY}, page=FORM),
        visitor.post(path, fields | {"private_key": KEY, "company_identifier": "x" * 200}, page=FORM),
        visitor.post(path, fields | {"private_key": KEY, "ca_bundle": "none"}, page=FORM),
    ]
    assert [answer.status_code for answer in answers] == [303, 422, 422]
    answers += [
        visitor.get(page.path, params={"partner": "msp-1"})
        for page in PAGES
        if page.method == "GET" and not page.path.endswith("/events")
    ]
    assert all(KEY not in answer.text and KEY not in str(answer.headers) for answer in answers)


def test_the_portal_works_without_scripts(in_portal: Portal, browser: Browser) -> None:
    """With JavaScript off a coordinator imports, maps, previews and pushes by forms alone."""
    in_portal.coordinator.connect()
    in_portal.open("/portal/companies")
    base_url = in_portal.page.evaluate("location.origin")
    with opened(browser, base_url, java_script_enabled=False) as page:
        page.goto(f"/portal/companies?partner={in_portal.coordinator.partner}")
        page.set_input_files("input[name=counts]", sample.COUNTS)
        page.get_by_role("button", name="Import").click()
        page.get_by_role("link", name="Bluewater Dental").click()
        for link, name in (("ConnectWise company", "Bluewater"), ("Agreement", "Managed"), ("Addition", "Phin")):
            page.get_by_role("button", name=f"Choose {link}").click()
            choice = page.get_by_role("button", name=name)
            again = page.get_by_role("link", name="Look again")
            expect(choice.or_(again).first).to_be_visible()
            # The page loads itself anew while ConnectWise is read.
            choice.first.click(timeout=30_000)
        page.get_by_role("link", name="← Companies").click()
        page.get_by_role("button", name="Preview the push").click()
        expect(page.get_by_text("The preview is complete")).to_be_visible(timeout=30_000)
        page.get_by_role("button", name="Push to ConnectWise").click()
        expect(page.get_by_role("heading", name="Done: 24 not mapped")).to_be_visible(timeout=30_000)
    assert in_portal.coordinator.quantity(7102) == 11


@pytest.mark.parametrize("has_events", [True, False], ids=["events", "polling"])
def test_a_push_is_followed_without_a_jump(in_portal: Portal, has_events: bool) -> None:  # noqa: FBT001 - parametrized
    """Progress comes by events, or by asking again and again, and nothing on the page moves meanwhile."""
    page, coordinator = in_portal.page, in_portal.coordinator
    coordinator.connect()
    coordinator.run("mapping", "import", sample.MAPPINGS, code=1)
    if not has_events:
        page.route("**/events?*", lambda route: route.fulfill(status=503, body=""))
    page.add_init_script(
        "window.shifts = []; new PerformanceObserver((list) => { for (const one of list.getEntries())"
        " if (!one.hadRecentInput) window.shifts.push([one.value, ...one.sources.map((s) => s.node?.outerHTML)]); })"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    in_portal.open("/portal/companies")
    in_portal.take_counts()
    in_portal.click("Preview the push")
    in_portal.ends()
    in_portal.click("Push to ConnectWise")
    in_portal.ends()
    assert "Updated" in in_portal.status("Whitcomb")
    shifts = page.evaluate("window.shifts")
    assert sum(shift[0] for shift in shifts) == 0, shifts


@pytest.mark.parametrize("is_cut", [False, True], ids=["refused", "connection cut"])
def test_a_choice_that_is_not_saved_says_so(in_portal: Portal, is_cut: bool) -> None:  # noqa: FBT001 - parametrized
    """A drop-down goes back to what is saved, and says beside it that the choice was not taken."""
    page = in_portal.page
    in_portal.coordinator.connect()
    in_portal.open("/portal/companies")
    in_portal.take_counts()
    in_portal.choose("Alder & Finch", "ConnectWise company", "Alder")
    field = page.get_by_role("combobox", name="ConnectWise company for Alder")
    away = {"HX-Retarget": "#messages", "HX-Reswap": "innerHTML"}
    page.route(
        "**/portal/map?*",
        lambda route: route.abort() if is_cut else route.fulfill(status=503, body="away", headers=away),
    )
    _choose(field, "Bluewater")
    expect(in_portal.row("Alder & Finch")).to_contain_text("✗ Not saved: Bluewater Dental. Choose it again.")
    assert field.input_value().startswith("Alder & Finch")
    expect(page.locator("#status")).to_contain_text("Not saved: Bluewater Dental")
    page.unroute("**/portal/map?*")
    _choose(field, "Bluewater")
    expect(field).to_have_attribute("value", "Bluewater Dental")
    expect(in_portal.row("Alder & Finch")).not_to_contain_text("Not saved")


def _choose(field: Locator, typed: str) -> None:
    """Type over what a drop-down holds, and take the first that is found."""
    field.fill(typed)
    field.page.locator("[role=option][aria-selected=true]").filter(has_text=typed).wait_for()
    field.press("Enter")
