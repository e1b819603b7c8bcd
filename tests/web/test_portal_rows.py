"""The pages of companies and writes: what they say of each company is true of its users and mapping as they are now."""

import csv
import io
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert, update

from messages import BillingPeriod, LineStatus, MappingChecked, PushLine
from store import Database, company_status, connections, ledger_queries, line_results, mappings, now, portal
from store.portal import Choice
from store.schema import ledger, pushes
from tests.support.portal import Portal
from tests.support.samples import (
    NOVEMBER,
    PARTNER,
    TENANT,
    connection,
    mapping,
    mapping_changed,
    minute,
    push,
    sync_result,
)
from tests.support.store import accept
from tests.support.visitors import Visitor
from worker.rules.problems import problem
from worker.web.rendering import MINUS
from worker.web.site import Site

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"])
PERIOD = "2025-11"
PAGE = f"/portal/companies?partner={PARTNER}&period={PERIOD}"


def _mapped(database: Database, *, at: float, **changes: Any) -> None:
    with database.begin() as tx:
        mappings.save(tx, mapping(at=at, **changes))


def _imported(
    database: Database, users: int, period: str = PERIOD, others: Mapping[str, int] = MappingProxyType({})
) -> None:
    lines = [
        PushLine(company_id=company_id, company_name="Acme", billable_users=count)
        for company_id, count in {"c-1": users, **others}.items()
    ]
    with database.begin() as tx:
        portal.replace_counts(tx, PARTNER, period, lines, "ana")


def _pushed(
    database: Database,
    users: int,
    status: LineStatus = "updated",
    *,
    at: float,
    month: str = PERIOD,
    before: float = 18.0,
    others: Mapping[str, int] = MappingProxyType({}),
    wanted: int | None = None,
) -> None:
    """A push that a worker has ended with this status; `wanted`: the quantity of the addition, the users if None."""
    counts = {"c-1": users, **others}
    event = push(f"p-{at:g}", counts, at=at, period=BillingPeriod.parse(month))
    accept(database, event)
    wanted = users if wanted is None else wanted
    quantities: dict[str, Any] = {"quantity_before": before, "quantity_wanted": wanted}
    if status == "updated":
        quantities["quantity_after"] = wanted
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), [sync_result(event, one, status, **quantities) for one in counts])


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def _status(site: Site, page: str = PAGE) -> str:
    """The Sync Status of the one company."""
    found = re.search(r'data-label="Sync Status">(.*?)</td>', Visitor(site).get(page).text, re.DOTALL)
    assert found is not None
    return _text(found[1])


def _sum(site: Site) -> dict[str, int]:
    """The users of each term of the sum."""
    term = r'<span class="figure[^>]*>([\d,]+)</span><span class="what">(.*?)<br>'
    terms = re.findall(term, Visitor(site).get(PAGE).text)
    return {name: int(users.replace(",", "")) for users, name in terms if users != "0"}


@pytest.fixture
def connected(local_site: Site, database: Database) -> Site:
    """A site whose partner has connected ConnectWise and mapped one company."""
    with database.begin() as tx:
        connections.save(tx, connection(at=-10))
    _mapped(database, at=-5)
    _imported(database, 21)
    return local_site


@on_sqlite
@pytest.mark.parametrize("changes", [{"addition_id": 99}, {"minimum": 40}], ids=["another addition", "a minimum"])
def test_what_was_mapped_since_a_push_is_not_said_to_be_written(
    connected: Site, database: Database, changes: dict[str, int]
) -> None:
    """A company that was mapped anew after its push is neither green nor in the sum of what is written."""
    _pushed(database, 21, at=0)
    assert "✓ Updated" in _status(connected)
    assert _sum(connected) == {"imported": 21, "written": 21}
    _mapped(database, at=1, **changes)
    assert "Changed since the push" in _status(connected)
    assert _sum(connected) == {"imported": 21, "not pushed yet": 21}
    assert "0 of 1 compared with ConnectWise: 1 not pushed" in _text(Visitor(connected).get(PAGE).text)


@on_sqlite
@pytest.mark.parametrize(
    ("code", "told"), [("agreement_expired", "✓ Updated"), ("agreement_elsewhere", "✗ Cannot be billed")]
)
def test_what_was_confirmed_and_written_is_green(connected: Site, database: Database, code: str, told: str) -> None:
    """The days that a check found not to be billed are no trouble of a month that was confirmed; all else is."""
    found = MappingChecked(
        partner_id=PARTNER,
        company_id="c-1",
        changed_at=minute(-5),
        correlation_id="test",
        time=minute(-4),
        status="invalid",
        cw_company_name="Acme",
        problems=(problem(code, status="Expired"),),
    )
    with database.begin() as tx:
        (stored,) = mappings.of_partner(tx, PARTNER)
        mappings.save_check(tx, stored, found.model_dump(mode="json"))
    assert "✗ Cannot be billed" in _status(connected)
    _pushed(database, 21, at=0)
    assert told in _status(connected)


@on_sqlite
def test_a_choice_on_its_way_is_not_said_to_be_written(connected: Site, database: Database) -> None:
    """A choice that no worker has stored yet counts as not pushed."""
    _pushed(database, 21, at=0)
    event = mapping_changed(1, changed_at=minute(1), cw_company_id=1, agreement_id=7, addition_id=99)
    with database.begin() as tx:
        portal.keep_choices(tx, [Choice(event, ("Acme", "Managed", "Phin"))])
    assert "Changed since the push" in _status(connected)
    assert _sum(connected) == {"imported": 21, "not pushed yet": 21}


@on_sqlite
def test_a_sum_is_not_green_once_one_of_its_companies_has_changed(connected: Site, database: Database) -> None:
    """Companies that share an addition count as written only together: what is billed is the sum of both."""
    _mapped(database, at=-5, rule="sum")
    _mapped(database, at=-5, rule="sum", company_id="c-2", company_name="Bolt")
    _imported(database, 21, others={"c-2": 5})
    _pushed(database, 21, at=0, others={"c-2": 5}, wanted=26)
    assert _sum(connected) == {"imported": 26, "written": 26}
    _imported(database, 21, others={"c-2": 6})
    assert _sum(connected) == {"imported": 27, "not pushed yet": 27}


@on_sqlite
@pytest.mark.parametrize(
    "changes",
    [{"addition_id": 99}, {"cw_company_id": None, "agreement_id": None, "addition_id": None}],
    ids=["mapped elsewhere", "unmapped"],
)
def test_a_sum_is_not_green_once_a_company_has_left_it(
    connected: Site, database: Database, changes: dict[str, int | None]
) -> None:
    """The rest of a sum has to be pushed anew: ConnectWise still bills the company that is mapped elsewhere now."""
    _mapped(database, at=-5, rule="sum")
    _mapped(database, at=-5, rule="sum", company_id="c-2", company_name="Bolt")
    _imported(database, 21, others={"c-2": 5})
    _pushed(database, 21, at=0, others={"c-2": 5}, wanted=26)
    assert _sum(connected) == {"imported": 26, "written": 26}
    _mapped(database, at=1, company_id="c-2", company_name="Bolt", **changes)
    assert _sum(connected)["not pushed yet"] >= 21


@on_sqlite
def test_a_revert_of_which_nobody_knows_the_end_has_failed(connected: Site, database: Database) -> None:
    """A quantity that may or may not have been put back is not shown as if nothing had been pushed."""
    _pushed(database, 21, at=0)
    event = push("back", {"c-1": 21}, at=1)
    accept(database, event)
    with database.partner(PARTNER) as tx:
        tx.execute(update(pushes).where(pushes.c.push_id == "back").values(mode="revert", reverts="p-0"))
        unknown: dict[str, Any] = {
            "reverts": "p-0",
            "perhaps_written": True,
            "quantity_before": 21.0,
            "quantity_wanted": 18,
        }
        line_results.record(tx, now(tx), [sync_result(event, "c-1", "failed", **unknown)])
    assert "✗ Failed" in _status(connected)


@on_sqlite
@pytest.mark.parametrize("status", ["failed", "held"])
def test_a_result_of_other_users_is_no_news(connected: Site, database: Database, status: LineStatus) -> None:
    """A company that failed or is held with other users than those imported since has to be pushed first."""
    _pushed(database, 21, status, at=0)
    assert status.capitalize() in _status(connected)
    assert _sum(connected) == {"imported": 21, status: 21}
    _imported(database, 30)
    assert "Changed since the push" in _status(connected)
    assert "A problem" not in _status(connected)
    assert _sum(connected) == {"imported": 30, "not pushed yet": 30}


@on_sqlite
def test_a_file_with_a_mistake_leads_to_no_other_period(connected: Site, database: Database) -> None:
    """The page that names the mistakes is about the period that was posted, so the corrected file goes there too."""
    wrong = {"counts": ("counts.csv", b"company_id,company_name,billable_users\nc-1,Acme,x\n")}
    posted = {"period": "2025-12"}
    answer = Visitor(connected).post(f"/portal/counts?partner={PARTNER}", posted, page=PAGE, files=wrong)
    assert answer.status_code == 422
    assert 'name="period" value="2025-12"' in answer.text
    assert "Companies 2025-12" in _text(answer.text)
    assert f"period={PERIOD}&" not in answer.text.partition('<div id="companies"')[2]
    with database.begin() as tx:
        assert [line.billable_users for line in portal.counts(tx, PARTNER, PERIOD)] == [21]


@on_sqlite
def test_an_id_that_is_like_a_mapped_one_is_named(connected: Site, database: Database) -> None:
    """An id with other capitals would bill nobody, so it is refused; one with other zeros may be another company."""
    visitor, head = Visitor(connected), "company_id,company_name,billable_users\n"
    _mapped(database, at=-5, company_id="c-7", company_name="Seven")

    def imported(rows: str) -> Any:
        files = {"counts": ("counts.csv", f"{head}{rows}".encode())}
        return visitor.post(f"/portal/counts?partner={PARTNER}", {"period": PERIOD}, page=PAGE, files=files)

    refused = imported("C-1,Acme,30\n")
    assert (refused.status_code, "C-1 is not mapped, but c-1 is" in refused.text) == (422, True)
    assert "Nothing was imported" in refused.text
    assert _sum(connected) == {"imported": 21, "not pushed yet": 21}
    assert imported("c-007,Seven,3\n").status_code == 303
    assert "c-007 is not mapped, but c-7 is. If they are the same company" in visitor.get(PAGE).text


def test_a_chosen_file_replaces_counts_only_by_the_button(in_portal: Portal) -> None:
    """Choosing a file imports it for a new period; the counts of a period that has some wait for the button."""
    page, coordinator = in_portal.page, in_portal.coordinator
    in_portal.open("/portal/companies?period=2026-11")
    in_portal.take_counts(coordinator.counts({"c-101": 21}))
    page.set_input_files("input[name=counts]", coordinator.counts({"c-101": 30}))
    expect(page.get_by_role("button", name="Import")).to_be_focused()
    expect(page.locator("#status")).to_have_text("Press Import to replace the counts of 2026-11")
    assert "21" in in_portal.row("Alder").inner_text()
    in_portal.click("Import")
    expect(in_portal.row("Alder")).to_contain_text("30")
    page.get_by_label("Billing period").fill("2026-12")
    page.set_input_files("input[name=counts]", coordinator.counts({"c-101": 31}))
    expect(in_portal.row("Alder")).to_contain_text("31")
    expect(page.get_by_role("heading", name="Companies 2026-12")).to_be_visible()


@on_sqlite
@pytest.mark.parametrize(
    ("before", "users", "change", "difference"),
    [
        (1_042.0, 2_084, "1,042 → 2,084", "+1,042"),
        (100_000.5, 21, "100,000.5 → 21", f"{MINUS}99,979.5"),
        (12_345.25, 1_000_000, "12,345.25 → 1,000,000", "+987,654.75"),
        (18.3, 21, "18.3 → 21", "+2.7"),
        (0.000125, 0, "0.000125 → 0", f"{MINUS}0.000125"),
        (9_999_999_999.99, 0, "9,999,999,999.99 → 0", f"{MINUS}9,999,999,999.99"),
    ],
)
def test_a_quantity_is_shown_with_all_its_digits(
    connected: Site, database: Database, before: float, users: int, change: str, difference: str
) -> None:
    """Neither the quantity in ConnectWise nor its change is rounded."""
    _imported(database, users)
    _pushed(database, users, at=0, before=before)
    assert change in _status(connected)
    page = Visitor(connected).get(f"/portal/push?partner={PARTNER}&push=p-0").text
    assert f"{change} {difference} " in _text(page)


@on_sqlite
def test_a_month_stays_pushed_after_the_next_one(connected: Site, database: Database) -> None:
    """The page of an earlier period shows what its own newest push brought, also once a later period is pushed."""
    _pushed(database, 20, "failed", at=0)
    _pushed(database, 21, at=1)
    _pushed(database, 22, "failed", at=2, month="2025-12")
    assert "✓ Updated 18 → 21" in _status(connected)
    assert _sum(connected) == {"imported": 21, "written": 21}
    assert "Not in the import" in _status(connected, PAGE.replace(PERIOD, "2025-12"))


@on_sqlite
def test_an_earlier_month_without_results_is_not_said_to_be_next(connected: Site, database: Database) -> None:
    """If only a later period's result is kept, the earlier page says that instead of `Not pushed yet`."""
    assert "Not pushed yet" in _status(connected)
    _pushed(database, 22, at=0, month="2025-12")
    assert "A later period was pushed" in _status(connected)
    assert _sum(connected) == {"imported": 21, "no result kept": 21}
    assert "0 of 1 compared with ConnectWise: 1 no result kept" in _text(Visitor(connected).get(PAGE).text)
    assert "Not pushed yet" in _status(connected, PAGE.replace(PERIOD, "2026-01"))


@on_sqlite
def test_a_dismissed_row_does_not_come_back(connected: Site, database: Database) -> None:
    """A company that a coordinator has put away shows no older result of its period instead."""
    _pushed(database, 21, at=0)
    _pushed(database, 22, at=1, month="2025-12")
    with database.begin() as tx:
        assert company_status.dismiss(tx, PARTNER, "c-1")
    assert "Not pushed yet" in _status(connected)


@on_sqlite
def test_the_file_of_the_ledger_holds_all_writes(connected: Site, database: Database) -> None:
    """However many writes there are, the newest are in the file too; its first rows come before all are read."""
    count = 2 * ledger_queries.ROWS_AT_ONCE + 2
    write = {
        "partner_id": PARTNER,
        "tenant": TENANT,
        "agreement_id": 7,
        "addition_id": 11,
        "push_id": "p-0",
        "period_key": PERIOD,
        "period_start": NOVEMBER.start,
        "period_end": NOVEMBER.end,
        "companies_json": '["c-1"]',
        "opened_at": minute(0),
        "call_until": minute(2),
        "outcome": "unknown",
        "closed_at": minute(1),
    }
    with database.begin() as tx:
        tx.execute(insert(ledger), [write | {"quantity_wanted": float(number)} for number in range(count)])
    with Visitor(connected).client.stream("GET", f"/portal/ledger.csv?partner={PARTNER}") as answer:
        assert "content-length" not in answer.headers
        rows = list(csv.DictReader(io.StringIO(answer.read().decode("utf-8-sig"), newline="")))
    assert [rows[0]["quantity_wanted"], rows[-1]["quantity_wanted"], len(rows)] == ["0", str(count - 1), count]
    assert rows[-1]["company_names"] == "C-1"


def test_a_page_that_the_browser_kept_is_made_anew(in_portal: Portal) -> None:
    """Back shows today's numbers, also in a browser that has kept the page as it was."""
    page = in_portal.page
    in_portal.open("/portal/companies?period=2026-11")
    with page.expect_navigation():
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.get_by_role("heading", name="Companies 2026-11")).to_be_visible()
