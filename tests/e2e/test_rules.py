"""Rules of mappings and periods: who is billed where, and what is never written."""

from datetime import date

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import BillingPeriod
from store import completions
from tests.support.case import Case, code
from tests.support.waiting import wait_for, within
from tests.support.world import NOVEMBER, now

ADDITION = Match(path=r"/additions/10000\d$")


def test_an_unmapped_company_is_skipped(case: Case) -> None:
    """A company without a mapping is skipped, and ConnectWise is not asked."""
    asked = len(case.world.simulator.log)
    answer = case.push(companies=(3,))["c3"]
    assert (answer.status, code(answer)) == ("skipped", "unmapped")
    assert len(case.world.simulator.log) == asked


def test_an_unfinished_mapping_is_skipped(case: Case) -> None:
    """Selections are saved one by one: as long as the addition is missing nothing is asked or written for the line."""
    chosen = case.world.mapped("p1", 3).model_copy(update={"addition_id": None})
    case.world.publish(chosen)
    wait_for(lambda: case.checked_mappings(chosen.changed_at, 1), "the check")
    asked = len(case.world.simulator.log)
    answer = case.push(companies=(3,))["c3"]
    assert (answer.status, code(answer)) == ("skipped", "mapping_unfinished")
    assert len(case.world.simulator.log) == asked


def test_users_that_nobody_bills_are_named_when_the_push_is_over(case: Case) -> None:
    """Unmapped companies are hidden revenue: push.completed names them with their users; those without users not."""
    push = case.world.push("p1", {1: 5, 3: 7, 4: 0})
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    with case.world.database.begin() as tx:
        completed = completions.of_push(tx, "p1", push.push_id)
    assert completed is not None
    assert [(one.company_id, one.billable_users) for one in completed.unmapped] == [("c3", 7)]
    assert completed.counts.skipped == 2


def test_a_mapping_of_another_connectwise_is_not_used(case: Case) -> None:
    """After connecting another ConnectWise the old mappings' ids mean other records: they are skipped, not written."""
    other = case.world.connected("p1").model_copy(update={"company_identifier": "another", "changed_at": now()})
    case.world.publish(other)
    wait_for(lambda: "another" in str(case.tenant()), "the new connection")
    answer = case.push()["c1"]
    assert (answer.status, code(answer)) == ("skipped", "map_again")
    assert case.world.writes() == []


def test_a_shared_addition_is_refused_unless_summed(case: Case) -> None:
    """Two companies on one addition fail, unless both mappings say sum: then it gets the sum, written once."""
    two = case.world.mapped("p1", 2).model_copy(
        update={"agreement_id": 1001, "addition_id": 100_001, "cw_company_id": 1}
    )
    case.world.publish(two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mapping")
    answers = case.push(companies=(1, 2))
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "shared_addition")}

    one = case.world.mapped("p1", 1).model_copy(update={"rule": "sum"})
    two = two.model_copy(update={"rule": "sum", "changed_at": now()})
    case.world.publish(one, two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mapping")
    answers = case.push(4, companies=(1, 2))
    assert {(answer.status, answer.quantity_after) for answer in answers.values()} == {("updated", 8)}
    assert [write["quantity_after"] for write in case.world.writes()] == [8]


def test_a_sum_names_the_company_whose_mapping_stops_it(case: Case) -> None:
    """One of two that share an addition is mapped to another company's agreement: the other one's row says whose."""
    one = case.world.mapped("p1", 1).model_copy(update={"rule": "sum"})
    two = one.model_copy(
        update={"company_id": "c2", "company_name": "Company 2", "cw_company_id": 2, "changed_at": now()}
    )
    case.world.publish(one, two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mapping")
    answers = case.push(companies=(1, 2))
    said = {company: (answer.status, code(answer)) for company, answer in answers.items()}
    assert said == {"c1": ("failed", "sharing_refused"), "c2": ("failed", "agreement_elsewhere")}
    assert answers["c1"].problem is not None
    assert "Company 2 (c2), whose mapping" in answers["c1"].problem.detail
    assert case.world.writes() == []


def test_a_sum_with_a_member_missing_is_held(case: Case) -> None:
    """A sum of which one company was not pushed would be wrong: it is held, nothing is written."""
    one = case.world.mapped("p1", 1).model_copy(update={"rule": "sum"})
    two = one.model_copy(update={"company_id": "c2", "company_name": "Company 2", "changed_at": now()})
    case.world.publish(one, two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mapping")
    answer = case.push(companies=(1,))["c1"]
    assert (answer.status, code(answer)) == ("held", "group_incomplete")
    assert case.world.writes() == []


def test_an_older_period_does_not_overwrite_a_newer_one(case: Case) -> None:
    """The addition holds December's quantity, also one that needed no write: November's push is held."""
    assert case.push(1, period=BillingPeriod.parse("2026-12"))["c1"].status == "unchanged"
    answer = case.push(9)["c1"]
    assert (answer.status, code(answer)) == ("held", "older_period")
    assert case.world.quantity("p1", 100_001) == 1


def test_a_preview_says_what_would_happen_and_writes_nothing(case: Case) -> None:
    """A preview reads the quantity and the price, and touches nothing."""
    case.world.simulator.state.change("cw-p1", "additions", 100_001, unitPrice=2.5)
    request = case.world.push("p1", {1: 5, 3: 1}).model_copy(update={"mode": "preview"})
    case.world.publish(request)
    wait_for(lambda: case.world.state_of(request) == "completed", "the preview")
    answers = case.world.answers(request)
    preview, unmapped = answers["c1"], answers["c3"]
    assert preview is not None
    assert unmapped is not None
    assert (preview.status, preview.quantity_before, preview.quantity_wanted) == ("preview", 1, 5)
    assert (preview.unit_price, preview.amount) == (2.5, 12.5)
    assert unmapped.status == "skipped"
    assert case.world.writes() == []


def test_a_sum_waits_for_a_member_that_is_being_remapped(case: Case) -> None:
    """A push overtakes the remapping of one of two summed companies: the sum never counts the one that left."""
    one = case.world.mapped("p1", 1).model_copy(update={"rule": "sum"})
    two = one.model_copy(update={"company_id": "c2", "company_name": "Company 2"})
    case.world.publish(one, two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mappings")
    moved = case.world.mapped("p1", 2)
    push = case.world.push("p1", {1: 5, 2: 10}, mappings=[one, moved])
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push")
    other = case.push(7, companies=(3,))
    assert other["c3"].status == "skipped"
    assert case.world.writes() == []
    case.world.publish(moved)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    assert (case.world.quantity("p1", 100_001), case.world.quantity("p1", 100_002)) == (5, 10)
    assert sorted(write["quantity_after"] for write in case.world.writes()) == [5, 10]


def test_of_two_periods_with_one_start_the_later_end_wins(case: Case) -> None:
    """Half a month and the whole month are both asked for: the addition ends at the whole month, whatever the order."""
    half = BillingPeriod(start=NOVEMBER.start, end=date(2026, 11, 15))
    older, newer = case.world.push("p1", {1: 5}, period=half), case.world.push("p1", {1: 9})
    case.world.publish(older, newer)
    wait_for(lambda: case.world.state_of(older) == case.world.state_of(newer) == "completed", "both pushes")
    assert case.world.quantity("p1", 100_001) == 9


def test_new_keys_are_not_blamed_for_the_old_ones(case: Case) -> None:
    """A push made under new keys is served, although calls with the refused old ones were still under way."""
    case.set_key("another-private-key")
    case.world.simulator.faults.set([faults.Latency(seconds=within(0.7), match=ADDITION, times=1)])
    asked = len(case.world.simulator.log)
    old = case.world.push("p1", {1: 5})
    case.world.publish(old)
    wait_for(lambda: len(case.world.simulator.log) > asked, "the call with the old key")
    good = case.world.connected("p1", "another-private-key")
    new = case.world.push("p1", {2: 6}, connection=good)
    case.world.publish(new, good)
    wait_for(lambda: case.world.state_of(new) == "completed", "the new push")
    assert 401 in {record["status"] for record in case.world.simulator.log[asked:]}
    answer = case.world.answers(new)["c2"]
    assert answer is not None
    assert answer.status == "updated"


def test_a_certificate_authority_that_cannot_be_read_is_answered(case: Case) -> None:
    """A broken CA bundle fails the connection's check and the push, with a problem to read."""
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    case.world.publish(case.world.connected("p1").model_copy(update={"ca_bundle": broken}))
    wait_for(lambda: (case.check() or {}).get("status") == "failed", "the check")
    answer = case.push()["c1"]
    assert (answer.status, code(answer)) == ("failed", "ca_bundle_unreadable")
