"""The table "The way" of docs/coordinator.md, row by row, by commands, through RabbitMQ and PostgreSQL.

Its last two rows, ledger and revert, are in test_cli_revert.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwclient.simulator import StateDocument, faults
from cwclient.simulator.faults import Match
from store import mappings, partners
from tests.support.coordinator import Coordinator
from tests.support.databases import Postgresql
from tests.support.waiting import wait_for
from tests.support.world import PRIVATE_KEY, World, now
from worker.cli import sample
from worker.spreadsheet import read_mappings

EDIT = "Finance > Agreements: Edit (All)"


def ids(company: int, agreement: int, addition: int) -> tuple[str, ...]:
    """The options of `mapping set` for these records."""
    return ("--cw-company", str(company), "--agreement", str(agreement), "--addition", str(addition))


@pytest.fixture(scope="module")
def world(amqp_url: str, postgresql: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One worker on real servers for all tests here; what is unusual is held as by default."""
    with (
        postgresql.database() as url,
        World(amqp_url, url, tmp_path_factory.mktemp("world"), partners=(), big_jump_count=20) as world,
    ):
        world.start_worker()
        yield world


@pytest.fixture
def ana(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Coordinator:
    """A coordinator whose partner, named after the test, has connected a ConnectWise of its own."""
    ana = Coordinator(world, request.function.__name__.removeprefix("test_"), tmp_path)
    world.publish(world.connected(ana.partner))

    def is_known() -> bool:
        with world.database.begin() as tx:
            return ana.partner in partners.known(tx)

    wait_for(is_known, "the connection")
    return ana


@pytest.fixture
def mapped(ana: Coordinator) -> Coordinator:
    """The companies of the sample are mapped as its file says, and checked."""
    events = read_mappings(sample.MAPPINGS, ana.partner, now())
    ana.world.publish(*events)

    def are_checked() -> bool:
        with ana.world.database.begin() as tx:
            found = mappings.of_partner(tx, ana.partner)
        return len(found) == len(events) and all(mapping.check for mapping in found)

    wait_for(are_checked, "the checks")
    return ana


def test_connect_review_disconnect(world: World, tmp_path: Path) -> None:
    """A lacking right is named until it is mended, a write proves the last right; disconnected, pushes fail."""
    ana = Coordinator(world, "rights", tmp_path)
    ana.set_rights(agreements_inquire="none")
    assert "✗ denied" in (shown := ana.connect(code=1))
    assert "Finance > Agreements > Inquire" in shown
    (listed,) = ana.told("connection", "list")["connections"]
    assert (listed["connected"], listed["check"]["problem"]["code"]) == (True, "missing_agreement_inquire")
    ana.set_rights()
    checked = ana.told("connection", "check")["check"]
    assert [right["state"] for right in checked["rights"]] == ["granted", "granted", "unproven"]

    ana.run("mapping", "set", "--company", "c-101", *ids(2001, 401, 7101))
    assert ana.push({"c-101": 21})["counts"] == {"updated": 1}

    def edit() -> str:
        (listed,) = ana.told("connection", "list")["connections"]
        return next(str(right["state"]) for right in listed["check"]["rights"] if right["right"] == EDIT)

    wait_for(lambda: edit() == "granted", "the right that the write has proven")
    assert "Disconnected." in ana.run("connection", "remove", "--yes", to="stderr")
    assert ana.told("connection", "list")["connections"][0]["connected"] is False
    (line,) = ana.push({"c-101": 22}, code=1)["lines"]
    assert (line["status"], line["problem"]["code"]) == ("failed", "not_connected")
    assert ana.quantity(7101) == 21


def test_choose_company_agreement_addition(ana: Coordinator) -> None:
    """Three commands lead from a name to the ids to map to, with quantity and price; what cannot be billed says why."""
    (company,) = ana.told("catalog", "companies", "--search", "alder")["choices"]
    (agreement,) = ana.told("catalog", "agreements", "--cw-company", str(company["id"]))["choices"]
    (addition,) = ana.told("catalog", "additions", "--agreement", str(agreement["id"]))["choices"]
    assert (company["id"], agreement["id"], addition["id"]) == (2001, 401, 7101)
    assert (addition["product"], addition["quantity"], addition["unit_price"]) == ("PHIN-SAT", 18, 2.5)
    assert addition["problem"] is agreement["problem"] is None
    (ended,) = ana.told("catalog", "agreements", "--cw-company", "2011")["choices"]
    assert ended["problem"]["code"] == "agreement_expired"
    shown = " ".join(ana.run("catalog", "additions", "--agreement", "410").split())
    assert "The addition is cancelled" in shown
    assert "1 addition, as of" in shown


def test_suggestions_become_mappings(ana: Coordinator) -> None:
    """Companies of the same name are mapped in bulk; the others come as a file, to edit and import."""
    rows = ["c-101,Alder & Finch Architects,21", "c-109,Ivy Lane Montessori,17", "c-102,Bluewater Dental Inc,11"]
    counts = ana.file("counts.csv", "\n".join(["company_id,company_name,billable_users", *rows, "c-900,Nobody,4"]))
    shown = ana.run("mapping", "suggest", "--counts", counts)
    assert "4 companies: 2 certain, 1 to look at, 1 without a suggestion" in shown
    assert ana.told("mapping", "list")["mappings"] == []

    done = ana.told("mapping", "suggest", "--counts", counts, "--accept-exact", "--csv", "rest.csv")
    suggested = {one["company_id"]: (one["reason"], one["cw_company_id"]) for one in done["suggestions"]}
    assert suggested == {"c-101": ("exact", 2001), "c-109": ("exact", 2009), "c-102": ("legal_form", 2002)}
    accepted = {one["company_id"]: (one["state"], one["addition_id"]) for one in done["accepted"]}
    assert accepted == {"c-101": ("complete", 7101), "c-109": ("incomplete", None)}

    rest = (ana.folder / "rest.csv").read_text("utf-8-sig")
    assert "c-102,Bluewater Dental Inc,2002,402,7102,refuse," in rest
    edited = rest.replace("c-900,Nobody,,,,", "c-900,Nobody,2003,403,7103,")
    imported = ana.told("mapping", "import", ana.file("edited.csv", edited))["mappings"]
    assert {one["company_id"]: one["state"] for one in imported} == {
        "c-101": "complete", "c-102": "complete", "c-109": "incomplete", "c-900": "complete",
    }  # fmt: skip
    (left,) = ana.told("mapping", "suggest", "--counts", counts)["suggestions"]
    assert left["company_id"] == "c-109"


def test_map_unmap_sum_minimum(mapped: Coordinator) -> None:
    """A sum, a minimum and what is not mapped are listed and billed as such; an export can be imported again."""
    (shared,) = mapped.told("mapping", "set", "--company", "c-104", *ids(2001, 401, 7101), code=1)["mappings"]
    assert [problem["code"] for problem in shared["check"]["problems"]] == ["shared_addition"]
    assert mapped.told("mapping", "remove", "--company", "c-104", "--yes")["mappings"][0]["state"] == "incomplete"
    least = mapped.told("mapping", "set", "--company", "c-102", *ids(2002, 402, 7102), "--minimum", "15")["mappings"][0]
    assert (least["state"], least["minimum"], least["company_name"]) == ("complete", 15, "Bluewater Dental")
    shown = " ".join(mapped.run("mapping", "list").split())
    assert shown.count("(sum)") == 2
    assert shown.count("(at least") == 2
    assert "not mapped" in shown

    users = {"c-102": 11, "c-104": 14, "c-117": 31, "c-118": 12}
    pushed = mapped.push(users)
    assert pushed["counts"] == {"updated": 3, "skipped": 1}
    assert [(one["company_id"], one["billable_users"]) for one in pushed["unmapped"]] == [("c-104", 14)]
    assert (mapped.quantity(7102), mapped.quantity(7117)) == (15, 31 + 12)

    mapped.run("mapping", "export", "mappings.csv")
    exported = (mapped.folder / "mappings.csv").read_text("utf-8-sig")
    assert "c-102,Bluewater Dental,2002,402,7102,refuse,15\n" in exported.replace("\r", "")
    mapped.run("mapping", "remove", "--company", "c-102", typed="y\n")
    mapped.run("mapping", "import", "mappings.csv", code=1)
    assert mapped.run("mapping", "export") == exported


def test_exchanged_companies_are_named(mapped: Coordinator) -> None:
    """Two customers exchanged in a file are complete mappings, so a warning names them, and no company that is right.

    It stands in the import, the list and the comparison, until each is mapped to its own records again.
    """
    mapped.run("mapping", "export", "mappings.csv")
    rows = (mapped.folder / "mappings.csv").read_text("utf-8-sig")
    exchanged = rows.replace("Dental,2002,402,7102", "Dental,2003,403,7103")
    file = mapped.file("exchanged.csv", exchanged.replace("Logistics,2003,403,7103", "Logistics,2002,402,7102"))
    for command in (("import", file), ("list",), ("health", "--by", "ana@msp.example")):
        shown = " ".join(mapped.run("mapping", *command, code=0 if command == ("list",) else 1).split())
        assert "2 companies: The names have nothing in common." in shown
        assert 'In Phin the company is called "Bluewater Dental", in ConnectWise "Cartwright Logistics".' in shown
        assert 'In Phin the company is called "Cartwright Logistics", in ConnectWise "Bluewater Dental".' in shown
    listed = mapped.told("mapping", "list")["mappings"]
    warned = {one["company_id"]: one["state"] for one in listed if one["check"]["warnings"]}
    assert warned == {"c-102": "complete", "c-103": "complete"}

    mapped.run("mapping", "import", "mappings.csv", code=1)
    assert not any(one["check"]["warnings"] for one in mapped.told("mapping", "list")["mappings"])


def test_a_company_that_is_counted_for_cost_only(mapped: Coordinator) -> None:
    """`--allow-not-billable` maps to an addition that is not billable on purpose; export and import keep that.

    Its users are counted, and no money.
    """
    mapped.world.simulator.state.change(mapped.tenant, "additions", 7101, billCustomer="NoCharge")
    mapped.run("mapping", "set", "--company", "c-101", *ids(2001, 401, 7101), code=1)
    mapped.run("mapping", "set", "--company", "c-101", *ids(2001, 401, 7101), "--allow-not-billable")
    mapped.run("mapping", "export", "mappings.csv")
    mapped.run("mapping", "import", "mappings.csv", code=1)
    listed = mapped.told("mapping", "list")["mappings"]
    assert [one["company_id"] for one in listed if one["allow_not_billable"]] == ["c-101"]
    (foreseen,) = mapped.push({"c-101": 21}, "--preview")["lines"]
    assert (foreseen["difference"], foreseen["amount"], foreseen["amount_difference"]) == (3, 0, 0)
    mapped.push({"c-101": 21})
    assert mapped.quantity(7101) == 21


def test_terms_that_are_not_named_are_kept(mapped: Coordinator) -> None:
    """Mapping a company anew keeps its rule, minimum and allowance, and says so, until an option takes it away.

    A file without the column `allow_not_billable` keeps that too.
    """
    mapped.world.simulator.state.change(mapped.tenant, "additions", 7101, billCustomer="NoCharge")
    again = ("mapping", "set", "--company", "c-101", *ids(2001, 401, 7101))
    mapped.run(*again, "--rule", "sum", "--minimum", "10", "--allow-not-billable")
    said = mapped.run(*again, to="stderr")
    assert "Kept: rule sum and minimum 10 and not Billable allowed." in said
    assert "Taken away by --rule refuse --no-minimum --no-allow-not-billable." in said
    mapped.push({"c-101": 6})
    assert mapped.quantity(7101) == 10

    columns = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"
    file = mapped.file("one.csv", f"{columns}\nc-101,Alder & Finch Architects,2001,401,7101,sum,10\n")
    said = mapped.run("mapping", "import", file, to="stderr")
    assert "Kept, as the file has no column allow_not_billable: it is allowed for c-101." in said

    mapped.run(*again, "--minimum", "3", "--no-minimum", code=2)
    said = mapped.run(*again, "--rule", "refuse", "--no-minimum", "--no-allow-not-billable", code=1, to="stderr")
    assert "Before: rule sum and minimum 10 and not Billable allowed." in said
    (left,) = [one for one in mapped.told("mapping", "list")["mappings"] if one["company_id"] == "c-101"]
    assert (left["rule"], left["minimum"], left["allow_not_billable"]) == ("refuse", None, False)


def test_what_a_fix_names_is_all_that_is_to_be_given(mapped: Coordinator) -> None:
    """A term of a mapped company changes without its ids, which stay; an id to the right of a new one never does."""
    for company, code in (("c-119", 1), ("c-120", 0)):
        mapped.run("mapping", "set", "--company", company, "--rule", "sum", code=code)
    mapped.run("mapping", "set", "--company", "c-113", "--allow-not-billable")
    found = {one["company_id"]: one for one in mapped.told("mapping", "list")["mappings"]}
    assert [found[company]["state"] for company in ("c-113", "c-119", "c-120")] == ["complete"] * 3
    assert [found["c-120"][name] for name in ("cw_company_id", "agreement_id", "addition_id")] == [2019, 419, 7119]

    said = mapped.run("mapping", "set", "--company", "c-101", "--agreement", "402", code=2, to="stderr")
    assert "'--addition': to be given, as only ids to the left" in " ".join(said.split())
    for company in ("c-108", "c-123"):  # never mapped, and mapped to nothing
        said = mapped.run("mapping", "set", "--company", company, "--rule", "sum", code=2, to="stderr")
        assert "--cw-company', '--agreement', '--addition'" in " ".join(said.replace("│", "").split())


def test_ids_of_another_connectwise_are_not_kept(mapped: Coordinator) -> None:
    """Once another ConnectWise is connected, a stored id may be anybody's there, so all are to be given."""
    other = json.loads(sample.SIMULATOR_STATE.read_text("utf-8"))["tenants"][0]
    other |= {
        "company_identifier": f"other-{mapped.partner}",
        "keys": [{"public": "public", "private": PRIVATE_KEY}],
    }
    mapped.world.simulator.state.merge(StateDocument.model_validate({"tenants": [other]}))
    site = ("--site", mapped.world.simulator.url, "--ca-file", str(mapped.world.simulator.ca_file))
    anew = ("--company-identifier", f"other-{mapped.partner}", "--public-key", "public", "--yes")
    mapped.run("connection", "set", *site, *anew, typed=f"{PRIVATE_KEY}\n")
    said = mapped.run("mapping", "set", "--company", "c-101", "--minimum", "5", code=2, to="stderr")
    assert "'--cw-company', '--agreement', '--addition'" in " ".join(said.split())


def test_a_mapping_that_has_gone_bad_names_its_successor(mapped: Coordinator) -> None:
    """`mapping health` says what is wrong and what to map to instead; once that is mapped it is silent about it."""
    mapped.world.simulator.state.cancel_addition(mapped.tenant, 7101)
    mapped.change(additions=[{"id": 7901, "agreementId": 401, "product": {"identifier": "PHIN-SAT"}, "quantity": 3}])

    def bad() -> dict[str, Any]:
        return {one["company_id"]: one["check"] for one in mapped.told("mapping", "health", code=1)["mappings"]}

    found = bad()["c-101"]
    assert [problem["code"] for problem in found["problems"]] == ["addition_cancelled"]
    assert (found["successor"]["agreement_id"], found["successor"]["addition_id"]) == (401, 7901)
    mapped.run("mapping", "set", "--company", "c-101", "--agreement", "401", "--addition", "7901")
    assert "c-101" not in bad()


def test_preview_push_confirm_status(mapped: Coordinator) -> None:
    """A preview says what the push does, and what is held goes through by a yes; Sync Status has the newest."""
    users = {"c-101": 21, "c-102": 95, "c-103": 200, "c-108": 12}
    again = ("push", "--period", "2026-11", "--counts", "counts.csv")
    foreseen = mapped.push(users, "--preview", code=1)["lines"]
    kept = ("status", "quantity_before", "quantity_wanted", "difference", "amount_difference")
    assert [tuple(line[name] for name in kept) for line in foreseen] == [
        ("preview", 18, 21, 3, 7.5),
        ("held", 9, 95, 86, 215),
        ("held", 64, 200, 136, 340),
        ("skipped", None, None, None, None),
    ]
    assert [reason["code"] for line in foreseen for reason in line["reasons"]] == ["big_jump", "big_jump"]
    assert mapped.writes() == []
    assert mapped.push(users, code=1)["counts"] == {"updated": 1, "held": 2, "skipped": 1}
    assert mapped.push(users, "--confirm", "c-102", code=1)["counts"] == {
        "unchanged": 1, "updated": 1, "held": 1, "skipped": 1,
    }  # fmt: skip
    asked = mapped.run(*again, "--confirm", "all", typed="n\n", code=1, to="stderr")
    assert "Cartwright Logistics: 64 → 200. An unusually big change" in asked
    assert (mapped.quantity(7102), mapped.quantity(7103)) == (95, 64)
    mapped.run(*again, "--confirm", "all", typed="y\n")
    assert mapped.quantity(7103) == 200

    mapped.push({"c-101": 22})
    shown = mapped.run("status")
    assert [line.split("  ")[0] for line in shown.splitlines() if "✓" in line] == [
        "Alder & Finch Architects",
        "Bluewater Dental (c-102)",
        "Cartwright Logistics",
    ]
    assert "21 → 22  ✓  updated" in shown
    assert "Not billed, as not mapped: 12 users of Hollis Brothers Roofing (12)" in shown


def test_a_push_is_stopped(mapped: Coordinator) -> None:
    """`push cancel` ends a push that ConnectWise holds up: what is written stays, the rest is cancelled."""
    there = Match(path=r"/additions/7103$", tenant=mapped.tenant)
    mapped.world.simulator.faults.add(faults.Status(status=500, match=there))
    sent = mapped.push({"c-101": 21, "c-102": 11, "c-103": 71}, "--no-wait")["push"]
    status = ("status", "--push", sent["push_id"])
    wait_for(lambda: mapped.told(*status)["counts"] == {"updated": 2, "retrying": 1}, "the first two lines", 60)
    assert "3 companies: 2 updated, 1 cancelled" in mapped.run("push", "cancel", sent["push_id"], "--yes")
    ended = mapped.told(*status)
    assert (ended["push"]["state"], ended["counts"]) == ("cancelled", {"updated": 2, "cancelled": 1})
    assert (mapped.quantity(7101), mapped.quantity(7103)) == (21, 64)


def test_a_company_is_meant_by_its_name_too(mapped: Coordinator) -> None:
    """A company's name in a table is enough to map, unmap, look up and take back; it makes no company of that name."""
    mapped.run("mapping", "set", "--company", "bluewater dental", *ids(2002, 402, 7102), "--minimum", "15")
    before = {one["company_id"]: one["minimum"] for one in mapped.told("mapping", "list")["mappings"]}
    assert before["c-102"] == 15
    assert "bluewater dental" not in before
    push_id = mapped.push({"c-102": 11, "c-117": 31, "c-118": 12})["push"]["push_id"]
    (write,) = mapped.told("ledger", "list", "--company", "Bluewater Dental")["writes"]
    assert (write["company_ids"], write["quantity_after"]) == (["c-102"], 15)
    assert "c-102" in mapped.run("ledger", "export", "--company", "Bluewater Dental")
    reverted = mapped.told("revert", "--push", push_id, "--company", "Bluewater Dental", "--company", "c-102", "--yes")
    assert [(line["company_id"], line["status"]) for line in reverted["lines"]] == [("c-102", "updated")]
    mapped.run("mapping", "remove", "--company", "Bluewater Dental", "--yes")
    mapped.run("status", "dismiss", "--company", "Bluewater Dental")
    assert {line["company_id"] for line in mapped.told("status")["lines"]} == {"c-117", "c-118"}


def test_a_name_of_two_companies_is_refused(mapped: Coordinator) -> None:
    """Of two companies of one name the id is to be given, which a list of mappings shows then."""
    mapped.run("mapping", "set", "--company", "c-900", "--name", "Bluewater Dental", *ids(2003, 403, 7103), code=1)
    said = mapped.run("mapping", "remove", "--company", "Bluewater Dental", "--yes", code=2, to="stderr")
    assert "c-102, c-900" in " ".join(said.split())
    listed = " ".join(mapped.run("mapping", "list").split())
    assert "Bluewater Dental (c-102)" in listed
    assert "Cartwright Logistics (" not in listed
