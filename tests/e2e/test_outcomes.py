"""The outcome table, provoked through the simulator: what became of the line, and what the coordinator reads."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cwclient import agreement_link, company_link
from cwclient.simulator import faults
from cwclient.simulator.document import Rights
from cwclient.simulator.faults import Match
from store import leases
from store.ledger import Entry
from store.schema import connections
from tests.support.case import Case, code
from tests.support.waiting import wait_for
from tests.support.world import World, now
from worker import app, look, progress
from worker.jobs import Job

ADDITION = Match(path=r"/additions/10000\d$")
PATCH = Match(path=r"/additions/10000\d$", method="PATCH")
GET = Match(path=r"/additions/10000\d$", method="GET")


def _cancel(world: World) -> None:
    world.simulator.state.cancel_addition("cw-p1", 100_001)


def _expire(world: World) -> None:
    world.simulator.state.expire_agreement("cw-p1", 1001)


def _cancel_agreement(world: World) -> None:
    world.simulator.state.change("cw-p1", "agreements", 1001, cancelledFlag=True, agreementStatus="Cancelled")


def _change_addition(**fields: object) -> Callable[[World], None]:
    return lambda world: world.simulator.state.change("cw-p1", "additions", 100_001, **fields)


def _remove(world: World) -> None:
    world.simulator.state.remove("cw-p1", "additions", 100_001)


def _fault(*switched: faults.Fault) -> Callable[[World], None]:
    return lambda world: world.simulator.faults.set(list(switched))


FAILED = [
    pytest.param(_cancel, "addition_cancelled", id="cancelled addition"),
    pytest.param(_expire, "agreement_expired", id="expired agreement"),
    pytest.param(_change_addition(effectiveDate="2099-01-01T00:00:00Z"), "addition_not_begun", id="not begun"),
    pytest.param(_change_addition(billCustomer="DoNotBill"), "not_billable", id="not billed"),
    pytest.param(_change_addition(additionStatus="Inactive"), "addition_not_active", id="inactive addition"),
    pytest.param(_cancel_agreement, "agreement_cancelled", id="cancelled agreement"),
    pytest.param(_remove, "record_not_found", id="deleted addition"),
    pytest.param(_fault(faults.NotKept(match=PATCH)), "not_kept", id="value does not stick"),
    pytest.param(_fault(faults.Status(status=404, match=GET)), "record_not_found", id="404"),
]


@pytest.mark.parametrize(("arrange", "problem"), FAILED)
def test_what_the_record_forbids_fails_only_its_line(
    case: Case, arrange: Callable[[World], None], problem: str
) -> None:
    """A record that cannot be billed fails its own line, once, with what to change; the neighbour is written."""
    arrange(case.world)
    answers = case.push(companies=(1,))
    assert (answers["c1"].status, code(answers["c1"])) == ("failed", problem)
    assert answers["c1"].problem is not None
    assert answers["c1"].problem.link == agreement_link(case.world.simulator.url, "cw-p1", 1001)
    case.world.simulator.faults.clear()
    assert case.push(7, companies=(2,))["c2"].status == "updated"


def test_a_mapping_that_has_gone_bad_leads_to_its_record(case: Case) -> None:
    """The check of a mapping names the record in ConnectWise to open: the agreement, else the company."""
    _cancel(case.world)
    case.world.simulator.state.remove("cw-p1", "companies", 3)
    agreement = case.world.mapped("p1", 1)
    company = case.world.mapped("p1", 3).model_copy(update={"agreement_id": None, "addition_id": None})
    case.world.publish(agreement, company)
    found = wait_for(lambda: case.checked_mappings(agreement.changed_at, 2), "the checks") or {}
    url = case.world.simulator.url
    assert found["c1"]["problems"][0]["code"] == "addition_cancelled"
    assert found["c1"]["problems"][0]["link"] == agreement_link(url, "cw-p1", 1001)
    assert found["c3"]["problems"][0]["link"] == company_link(url, "cw-p1", 3)


RETRIED = [
    pytest.param(faults.Status(status=500, match=GET, times=2), id="500 of the record"),
    pytest.param(faults.Status(status=503, match=GET, times=2), id="503"),
    pytest.param(faults.BrokenJson(match=GET, times=2), id="broken JSON"),
    pytest.param(faults.Reset(match=GET, times=2), id="reset"),
    pytest.param(faults.Html(match=GET, times=2), id="HTML"),
    pytest.param(faults.Html(status=200, match=GET, times=2), id="HTML 200"),
    pytest.param(faults.Hang(match=GET, times=1), id="no answer"),
    pytest.param(faults.Status(status=429, retry_after=1, match=GET, times=1), id="429"),
    pytest.param(faults.MissingClientId(match=GET, times=1), id="clientId refused"),
    pytest.param(faults.Status(status=500, match=PATCH, times=1), id="500 of the write"),
    pytest.param(faults.Reset(match=PATCH, times=1), id="write reset"),
    pytest.param(faults.Hang(match=PATCH, times=1), id="write without answer"),
    pytest.param(faults.Status(status=429, retry_after=1, match=PATCH, times=1), id="429 of the write"),
]


@pytest.mark.parametrize("fault", RETRIED)
def test_what_passes_is_tried_again(case: Case, fault: faults.Fault) -> None:
    """Trouble that passes delays the line; in the end it is written once, and nobody has to do anything."""
    case.world.simulator.faults.set([fault])
    answer = case.push()["c1"]
    assert (answer.status, answer.quantity_before, answer.quantity_after) == ("updated", 1, 5)
    assert [write["quantity_after"] for write in case.world.writes()] == [5]
    assert case.dead() == {}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.LostResponse(match=PATCH, times=1), id="connection closed"),
        pytest.param(faults.Hang(applied=True, match=PATCH, times=1), id="no answer"),
        pytest.param(faults.BrokenJson(match=PATCH, times=1), id="broken answer"),
    ],
)
def test_a_write_whose_answer_is_lost_is_not_repeated(case: Case, fault: faults.Fault) -> None:
    """ConnectWise took the write but the answer was lost: it is read, not written again; before is what was before."""
    case.world.simulator.faults.set([fault])
    answer = case.push()["c1"]
    assert (answer.status, answer.quantity_before, answer.quantity_after) == ("updated", 1, 5)
    assert len(case.world.writes()) == 1
    assert [(row.outcome, row.quantity_before, row.quantity_after) for row in case.world.ledger()] == [
        ("written", 1, 5)
    ]


def test_refused_keys_fail_all_lines_without_hammering(case: Case) -> None:
    """Wrong keys: one request, all lines failed with what to do, one dead letter that a replay can start from."""
    case.world.simulator.faults.set([faults.Status(status=401, match=ADDITION)])
    before = len(case.world.simulator.log)
    answers = case.push(companies=(1, 2))
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "bad_credentials")}
    assert len(case.world.simulator.log) - before == 1
    assert case.dead() == {"credentials": 1}


def test_a_missing_edit_right_is_named(case: Case) -> None:
    """403 on the write: all lines fail, and the coordinator reads which row of the security role to change."""
    case.set_rights(Rights(agreements_edit="none"))
    answer = case.push()["c1"]
    assert code(answer) == "missing_agreement_edit"
    assert answer.problem is not None
    assert "Finance > Agreements > Edit" in answer.problem.fix
    assert case.dead() == {"credentials": 1}


def test_a_restricted_agreement_type_fails_only_its_line(case: Case) -> None:
    """403 on one addition while the rights as a whole are granted: that agreement's type is hidden from the role."""
    case.world.simulator.faults.set([faults.MissingRight(match=Match(path="/additions/100001$"))])
    answers = case.push(companies=(1, 2))
    assert (answers["c1"].status, code(answers["c1"])) == ("failed", "restricted_agreement")
    assert answers["c2"].status == "updated"


def test_a_moved_codebase_is_found_again(case: Case) -> None:
    """After an upgrade of the cloud the base URL is looked up again and the push goes on."""
    _forget_last_look_up(case.world)
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    assert case.push()["c1"].status == "updated"


def test_a_codebase_that_moves_between_read_and_write_is_found_again(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upgrade comes when additions are read but not yet written: they are decided anew, and no line fails."""
    _forget_last_look_up(case.world)
    entry_of = progress.entry_of

    def upgraded(job: Job) -> Entry:
        case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
        return entry_of(job)

    monkeypatch.setattr(progress, "entry_of", upgraded)
    answers = case.push(companies=(1, 2))
    assert {answer.status for answer in answers.values()} == {"updated"}
    assert sorted(write["quantity_after"] for write in case.world.writes()) == [5, 5]
    assert case.dead() == {}


def _forget_last_look_up(world: World) -> None:
    with world.database.begin() as tx:
        tx.execute(connections.update().values(base_url_at=now() - timedelta(minutes=10)))


def test_a_silent_server_pauses_the_partner_and_is_given_up(world: World) -> None:
    """A server that cannot be reached is left alone with growing pauses; after RETRY_FOR the lines fail together."""
    settings = world.settings.model_copy(update={"retry_for": timedelta(seconds=2)})
    case = Case(world)
    with app.build(settings):
        world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
        wait_for(case.is_checked, "the checks")
        world.simulator.faults.set([faults.Status(status=503, match=ADDITION)])
        answers = case.push(companies=(1, 2))
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "exhausted")}
    assert case.dead() == {"exhausted": 1}


def _hours_pass(world: World) -> None:
    """All that is known of how ConnectWise does is two days old."""
    with world.database.begin() as tx:
        known = leases.health(tx, "p1")
        times = (known.unreachable_since, known.limited_since, known.paused_until)
        since, limited, paused = (at and at - timedelta(days=2) for at in times)
        older = replace(known, unreachable_since=since, limited_since=limited, paused_until=paused)
        leases.save_health(tx, "p1", older)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.Status(status=503, match=GET, times=4), id="unreachable"),
        pytest.param(faults.Status(status=429, retry_after=1, match=GET, times=1), id="429"),
    ],
)
def test_trouble_that_nobody_waited_for_is_not_held_against_a_later_push(case: Case, fault: faults.Fault) -> None:
    """Previews met trouble days ago, then nothing was asked: a push that meets some today is retried all the same."""
    case.world.simulator.faults.set([fault])
    for _ in range(fault.times or 0):
        case.preview()
    wait_for(lambda: not case.is_running(), "the end of the run")
    _hours_pass(case.world)
    case.world.simulator.faults.set([fault.model_copy(update={"times": 1})])
    assert case.push()["c1"].status == "updated"
    assert case.dead() == {}


def test_the_check_of_a_connection_is_the_first_call_that_counts(case: Case) -> None:
    """Keys that the check finds refused are not tried again by a line."""
    case.set_key("another-private-key")
    asked = len(case.world.simulator.log)
    connection = case.world.connected("p1")
    push = case.world.push("p1", {1: 5, 2: 5}, connection=connection)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push's acceptance")
    case.world.publish(connection)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    answers = case.world.answers(push)
    assert {answer and code(answer) for answer in answers.values()} == {"bad_credentials"}
    assert [record["status"] for record in case.world.simulator.log[asked:]] == [200, 401]


def test_a_pause_that_the_check_of_a_connection_meets_is_kept(case: Case) -> None:
    """429 with Retry-After on the check: no line calls ConnectWise before that is over."""
    case.world.simulator.faults.set([faults.Status(status=429, retry_after=2, match=Match(path="/count$"), times=1)])
    asked = len(case.world.simulator.log)
    connection = case.world.connected("p1")
    push = case.world.push("p1", {1: 5}, connection=connection)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push's acceptance")
    case.world.publish(connection)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    limited, after = (datetime.fromisoformat(record["time"]) for record in case.world.simulator.log[asked + 1 :][:2])
    assert after - limited >= timedelta(seconds=1.9)
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert answer.status == "updated"


def test_an_unmapped_company_is_skipped_also_when_all_fails(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused keys fail what would have been written; an unmapped company still reads that it is to be mapped."""
    monkeypatch.setattr(look, "BATCH", 1)
    case.world.simulator.faults.set([faults.Status(status=401, match=ADDITION)])
    answers = case.push(companies=(1, 3))
    assert {company: (answer.status, code(answer)) for company, answer in answers.items()} == {
        "c1": ("failed", "bad_credentials"),
        "c3": ("skipped", "unmapped"),
    }


def test_a_line_that_may_be_written_does_not_fail_with_the_others(case: Case) -> None:
    """While a change may still arrive its line does not fail; if nobody can look afterwards, the line says so."""
    case.world.simulator.faults.set(
        [
            faults.Hang(applied=True, match=Match(method="PATCH", path=r"/additions/100001$"), times=1),
            faults.Status(status=401, match=Match(method="PATCH", path=r"/additions/100002$")),
        ]
    )
    answers = case.push(companies=(1, 2))
    assert {company: (answer.status, code(answer)) for company, answer in answers.items()} == {
        "c1": ("updated", None),
        "c2": ("failed", "bad_credentials"),
    }
    assert case.world.quantity("p1", 100_001) == 5


def test_a_missing_inquire_right_fails_all_lines_with_its_row(case: Case) -> None:
    """A 403 on one record leads to the two counts: if a right is really missing, all lines name the row to change."""
    case.set_rights(Rights(agreements_inquire="none"))
    answers = case.push(companies=(1, 2))
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "missing_agreement_inquire")}
    assert case.dead() == {"credentials": 1}
    assert case.world.writes() == []


def test_one_record_is_given_up_while_its_neighbour_is_written(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """An addition that only meets errors of ConnectWise is exhausted alone, with a dead letter; others are written."""
    monkeypatch.setattr(progress, "given_up", lambda *_: True)
    case.world.simulator.faults.set([faults.Status(status=500, match=Match(path=r"/additions/100001$"))])
    answers = case.push(companies=(1, 2))
    assert {company: (answer.status, code(answer)) for company, answer in answers.items()} == {
        "c1": ("failed", "exhausted"),
        "c2": ("updated", None),
    }
    assert case.dead() == {"exhausted": 1}
