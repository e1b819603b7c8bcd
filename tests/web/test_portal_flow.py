"""A coordinator's months in a real browser: connect, map, preview, push, mend, retry, confirm, revert."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from playwright.sync_api import Browser, expect

from store import pauses
from tests.support.portal import Portal, portal
from tests.support.waiting import TIME_FACTOR
from tests.support.world import World
from worker.cli import sample


@pytest.fixture(params=["rabbitmq", "embedded"])
def anywhere(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Iterator[Portal]:
    """The portal on RabbitMQ with PostgreSQL, and without any server."""
    if request.param == "embedded":
        urls = ("local:", request.getfixturevalue("sqlite_url"))
    else:
        urls = (request.getfixturevalue("amqp_url"), request.getfixturevalue("postgresql_url"))
    with World(*urls, tmp_path, big_jump_count=20) as world, portal(world, browser, tmp_path) as opened:
        yield opened


def test_the_months_of_a_coordinator(anywhere: Portal) -> None:
    """From the first key to a revert, each page leads to the next, and what is shown is what ConnectWise holds."""
    page, coordinator = anywhere.page, anywhere.coordinator
    _connect_and_map(anywhere)
    anywhere.push()
    assert "Updated" in anywhere.status("Alder & Finch Architects")
    assert coordinator.quantity(7101) == 21
    held = anywhere.row("Juniper Wealth Partners")
    assert "The addition is cancelled" in held.inner_text()
    held.locator("summary").click()
    assert "Finance > Agreements" in held.inner_text()
    assert coordinator.quantity(7110) == 7
    page.get_by_label("Confirm 7 → 8 of Juniper Wealth Partners").check()
    page.get_by_label("Confirm 1 → 39 of Lakeshore Credit Union").check()
    anywhere.click("Push again with what is confirmed")
    anywhere.ends()
    assert "Updated" in anywhere.status("Lakeshore Credit Union")
    assert coordinator.quantity(7112) == 39
    assert "ConnectWise refused the change" in anywhere.status("Juniper Wealth Partners")
    mended = {"id": 7110, "agreementId": 410, "quantity": 7, "cancelledDate": None}
    coordinator.change(additions=[mended])
    anywhere.click("Retry 1 failed company only")
    anywhere.ends()
    assert "Updated" in anywhere.status("Juniper Wealth Partners")
    assert coordinator.quantity(7110) == 8

    page.get_by_text("Take it back").click()
    anywhere.click("Put back 1 quantity")
    anywhere.ends()
    assert "Put back" in anywhere.status("Juniper Wealth Partners")
    assert coordinator.quantity(7110) == 7
    anywhere.click("History")
    anywhere.sees("Revert")
    anywhere.click("All writes")
    assert page.get_by_role("row").count() >= 4
    assert coordinator.quantity(7101) == 21


def test_failed_companies_are_mended_and_retried_alone(in_portal: Portal) -> None:
    """Once the cause is mended in ConnectWise, a retry sends what failed, and nothing else."""
    coordinator, page = in_portal.coordinator, in_portal.page
    coordinator.connect()
    rows = ["c-102,Bluewater Dental,2002,402,7102,,", "c-113,Marlow & Sons Funeral Home,2013,413,7113,,"]
    header = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"
    coordinator.run("mapping", "import", coordinator.file("mappings.csv", "\n".join([header, *rows])), code=1)
    in_portal.open("/portal/companies")
    in_portal.take_counts(coordinator.counts({"c-102": 11, "c-113": 6}))
    in_portal.push()
    assert "Failed" in in_portal.status("Marlow & Sons")
    assert len(coordinator.writes()) == 1
    addition = {"id": 7113, "agreementId": 413, "quantity": 5, "billCustomer": "Billable"}
    coordinator.change(additions=[addition | {"product": {"identifier": "PHIN-SAT"}}])
    in_portal.click("Retry 1 failed company only")
    in_portal.ends()
    assert page.locator("[data-row]").count() == 1
    assert "Updated" in in_portal.status("Marlow & Sons")
    assert [write["path"].rpartition("/")[2] for write in coordinator.writes()] == ["7102", "7113"]
    assert coordinator.quantity(7113) == 6


def test_a_push_that_waits_says_why_and_can_be_cancelled(in_portal: Portal) -> None:
    """While an operator's pause holds a push up, its page names it; what is cancelled then is never written."""
    coordinator, page = in_portal.coordinator, in_portal.page
    coordinator.connect()
    coordinator.run("mapping", "import", sample.MAPPINGS, code=1)
    in_portal.open("/portal/companies")
    in_portal.take_counts()
    in_portal.click("Preview the push")
    in_portal.ends()
    with coordinator.world.database.begin() as tx:
        pauses.pause(tx, coordinator.partner, "walt", "ConnectWise has an incident")
    in_portal.click("Push to ConnectWise")
    in_portal.sees("You may leave this page")
    in_portal.sees("It waits: Paused by walt since")
    in_portal.click("Cancel what is not written yet")
    with coordinator.world.database.begin() as tx:
        pauses.resume(tx, coordinator.partner)
    in_portal.ends()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    assert "Cancelled" in in_portal.status("Alder & Finch Architects")
    assert coordinator.writes() == []


def test_the_first_month_takes_few_interactions(in_portal: Portal) -> None:
    """25 companies are connected, mapped and pushed within 40 interactions; the next month takes 3 clicks."""
    began = monotonic()
    in_portal.open()
    in_portal.connect()
    in_portal.sees("Go on to Companies")
    in_portal.click("Go on to Companies")
    in_portal.take_counts()
    in_portal.click("Suggest for")
    in_portal.sees("Accept all")
    in_portal.click("Accept all")
    in_portal.sees("suggestions are accepted")
    in_portal.push()
    assert in_portal.interactions <= 40
    assert monotonic() - began < 180 * TIME_FACTOR
    in_portal.interactions = 0
    in_portal.open("/portal/companies?period=2026-12")
    in_portal.take_counts()
    in_portal.push()
    assert in_portal.interactions <= 3


def _connect_and_map(anywhere: Portal) -> None:
    page = anywhere.page
    anywhere.open()
    anywhere.connect("a wrong key")
    anywhere.sees("ConnectWise refused the keys")
    anywhere.click("Correct it")
    anywhere.connect()
    anywhere.sees("Finance > Agreements: Edit (All)")
    anywhere.click("Go on to Companies")
    anywhere.sees("No company yet")
    anywhere.take_counts()
    anywhere.sees("0 of 25 compared with ConnectWise: 25 not mapped")

    anywhere.choose("Alder & Finch Architects", "ConnectWise company", "Alder")
    anywhere.choose("Alder & Finch Architects", "Agreement", "Managed")
    anywhere.choose("Alder & Finch Architects", "Addition", "Phin")
    anywhere.choose("Juniper Wealth Partners", "ConnectWise company", "Juniper")
    page.reload()
    assert page.get_by_role("combobox", name="Addition for Alder").input_value().startswith("Phin")
    assert (
        page.get_by_role("combobox", name="ConnectWise company for Juniper").input_value() == "Juniper Wealth Partners"
    )
    anywhere.choose("Juniper Wealth Partners", "Agreement", "Managed")
    anywhere.choose("Juniper Wealth Partners", "Addition", "Phin")
    anywhere.click("Suggest for")
    anywhere.sees("same name")
    anywhere.click("Accept Bluewater Dental for Bluewater Dental")
    expect(page.get_by_role("button", name="Accept Bluewater Dental")).to_have_count(0)
    anywhere.click("Accept all")
    anywhere.sees("suggestions are accepted")
    anywhere.choose("Lakeshore Credit Union", "Addition", "Phin")
