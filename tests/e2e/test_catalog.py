"""Choices for the drop-downs: what is offered, how it is found, and where it comes from."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from cwclient.simulator import StateDocument, faults
from cwclient.simulator.document import Rights
from store import backlog, pauses
from tests.support.asking import answer_to, answered, ask, names, question, reads
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker.rules import retry

COMPANIES = r"/company/companies$"
AGREEMENTS = r"/finance/agreements$"
ADDITIONS = r"/additions$"


def add(world: World, **records: Any) -> None:
    """Put records into the partner's ConnectWise."""
    document = {"tenants": [{"company_identifier": "cw-p1", **records}]}
    world.simulator.state.merge(StateDocument.model_validate(document))


def test_companies_are_listed_by_name_without_the_deleted(case: Case) -> None:
    """A coordinator sees every company once, those of the recycle bin never."""
    add(case.world, companies=[{"id": 7, "name": "acme \u200bWidgets", "identifier": "ACME"}])
    add(case.world, companies=[{"id": 8, "name": "Acme Widgets", "deletedFlag": True}])
    listed = ask(case.world, question("companies"))
    assert names(listed) == ["acme Widgets", "Company 1", "Company 2", "Company 3"]
    assert (listed.choices[0].id, listed.choices[0].detail, listed.more) == (7, "ACME", False)


@pytest.mark.parametrize(
    ("search", "found"),
    [("WIDG", [7]), ("acme\u200b w", [7]), ("muller", [9]), ("y-03", [9]), ("company", [1, 2, 3]), ("nothing", [])],
)
def test_companies_are_found_by_parts_of_name_and_identifier(case: Case, search: str, found: list[int]) -> None:
    """A coordinator's search finds companies whatever its capitals, accents and invisible characters."""
    add(case.world, companies=[{"id": 7, "name": "Acme Widgets"}, {"id": 9, "name": "Müller", "identifier": "KEY-03"}])
    assert [choice.id for choice in ask(case.world, question("companies", search=search)).choices] == found


def test_further_questions_are_answered_from_what_was_read(case: Case) -> None:
    """Pages and searches after the first ask nothing of ConnectWise, until somebody asks for a refresh."""
    add(case.world, companies=[{"id": number, "name": f"Firm {number}"} for number in range(1000, 1250)])
    first = ask(case.world, question("companies", search="firm"))
    second = ask(case.world, question("companies", search="firm", page=2))
    last = ask(case.world, question("companies", search="firm", page=3))
    assert [(len(one.choices), one.more) for one in (first, second, last)] == [(100, True), (100, True), (50, False)]
    assert len({choice.id for one in (first, second, last) for choice in one.choices}) == 250
    assert last.fetched_at == first.fetched_at
    assert reads(case.world, COMPANIES) == 1
    add(case.world, companies=[{"id": 7, "name": "Newcomer"}])
    assert names(ask(case.world, question("companies", search="newcomer"))) == []
    assert names(ask(case.world, question("companies", search="newcomer", refresh=True))) == ["Newcomer"]
    assert reads(case.world, COMPANIES) == 2


def test_another_connection_shows_what_it_sees(case: Case) -> None:
    """New keys may be for another role: what the former ones saw some minutes ago is no answer any more."""
    assert names(ask(case.world, question("agreements", cw_company_id=1))) == ["Agreement 1"]
    case.set_rights(Rights(agreement_types=("Backup",)))
    connected = case.world.connected("p1")
    case.world.publish(connected)
    wait_for(lambda: case.version() == connected.changed_at, "the connection")
    assert names(ask(case.world, question("agreements", cw_company_id=1))) == []


def test_agreements_say_whether_they_can_be_billed(case: Case) -> None:
    """Each agreement of the company comes with type, status and dates, and with what stands in the way of billing."""
    agreements = [
        {"id": 11, "company": {"id": 1}, "name": "B ends today or later", "endDate": "2099-01-31T00:00:00Z"},
        {"id": 12, "company": {"id": 1}, "name": "C over", "endDate": "2024-01-31T00:00:00Z"},
        {"id": 13, "company": {"id": 1}, "name": "D cancelled", "cancelledFlag": True},
        {"id": 14, "company": {"id": 1}, "name": "E begins later", "startDate": "2099-01-01T00:00:00Z"},
    ]
    add(case.world, agreements=agreements)
    listed = ask(case.world, question("agreements", cw_company_id=1))
    found = [(choice.name, choice.problem.code if choice.problem else None) for choice in listed.choices]
    assert found == [
        ("Agreement 1", None),
        ("B ends today or later", None),
        ("C over", "agreement_expired"),
        ("D cancelled", "agreement_cancelled"),
        ("E begins later", "agreement_not_begun"),
    ]
    assert (listed.choices[1].type, listed.choices[1].status) == ("Managed Services", "Active")
    assert str(listed.choices[1].end_date) == "2099-01-31"
    assert reads(case.world, AGREEMENTS) == 1


def test_additions_say_what_they_bill(case: Case) -> None:
    """Each addition comes with product, quantity and prices, and with what stands in the way of billing."""
    additions = [
        {"id": 21, "description": "Training", "quantity": 4.5, "unitPrice": 2.5, "lessIncluded": 1},
        {"id": 22, "description": "Zero", "billCustomer": "NoCharge", "product": {"identifier": "Z"}},
    ]
    add(case.world, additions=[{"agreementId": 1001, **addition} for addition in additions])
    listed = ask(case.world, question("additions", agreement_id=1001, search="r"))
    training, zero = (choice for choice in listed.choices if choice.id < 100)
    assert (training.quantity, training.unit_price, training.less_included) == (4.5, 2.5, 1)
    assert (training.product, str(training.effective_date), training.problem) == ("PRODUCT", "2024-01-01", None)
    assert zero.problem is not None
    assert (zero.product, zero.problem.code) == ("Z", "not_billable")


def test_embedded_an_answer_to_a_queue_is_kept(case: Case) -> None:
    """There is no queue to answer to without a broker: the answer is read from the store, and nothing piles up."""
    assert ask(case.world, question("companies", reply_to="phin.portal")).choices

    def waits() -> int:
        with case.world.database.begin() as tx:
            return backlog.read(tx).outbox

    wait_for(lambda: not waits(), "an empty outbox")
    assert case.dead() == {}


def test_without_a_connection_the_answer_says_so(world: World) -> None:
    """A question before ConnectWise is connected gets an answer that says what to do."""
    with app.build(world.settings):
        listed = ask(world, question("companies"))
    assert listed.problem is not None
    assert (listed.problem.code, listed.choices) == ("not_connected", ())


def test_a_paused_partner_is_told_so(case: Case) -> None:
    """While an operator leaves ConnectWise alone a question is answered, and nothing is asked."""
    with case.world.database.partner("p1") as tx:
        pauses.pause(tx, "p1", "ops", "they upgrade")
    listed = ask(case.world, question("agreements", cw_company_id=1))
    assert listed.problem is not None
    assert (listed.problem.code, reads(case.world, AGREEMENTS)) == ("paused", 0)


def test_a_question_while_connectwise_is_down_is_answered(case: Case) -> None:
    """Somebody waits: an outage is the answer, at once and also while the partner is left alone because of it."""
    case.world.simulator.faults.set([faults.Status(status=503)])
    told = [ask(case.world, question("companies", refresh=True)).problem for _ in range(5)]
    assert {problem.code for problem in told if problem} == {"unreachable"}
    assert all(problem and problem.fix.startswith("Try again") for problem in told)
    case.world.simulator.faults.clear()
    wait_for(lambda: ask(case.world, question("companies")).choices, "an answer after the outage")


def test_wrong_keys_answer_all_questions(case: Case) -> None:
    """With keys that ConnectWise refuses all who wait are told, by at most two requests for each of them."""
    case.set_key("another-private-key")
    before = len(case.world.simulator.log)
    asked = [question("agreements", cw_company_id=number) for number in (1, 2, 3)]
    case.world.publish(*asked)
    answers = [answered(case.world, one) for one in asked]
    assert {answer.problem.code for answer in answers if answer.problem} == {"bad_credentials"}
    assert len(case.world.simulator.log) - before <= 2 * len(asked)


def test_a_right_that_lines_do_without_fails_no_push(case: Case) -> None:
    """The answer names the right that a role lacks to list companies; the next push is written all the same."""
    case.set_rights(Rights(company_maintenance_inquire="none"))
    listed = ask(case.world, question("companies"))
    assert listed.problem is not None
    assert listed.problem.code == "missing_company_inquire"
    assert "Company Maintenance" in listed.problem.fix
    assert case.push()["c1"].status == "updated"


def test_a_condition_that_is_refused_stops_no_push(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of a list is refused: answer and log say that it is ours, and pushes, which list nothing, go on."""
    monkeypatch.setattr(retry, "OUR_FAULT_PAUSE", timedelta(hours=1))
    said = '{"code":"ApiFindCondition","message":"deletedFlag is not known"}'
    case.world.simulator.faults.set([faults.Answer(status=400, body=said, match=faults.Match(path=COMPANIES))])
    with capture_logs() as logs:
        listed = ask(case.world, question("companies"))
    assert listed.problem is not None
    assert (listed.problem.code, listed.problem.said) == ("request_refused", "deletedFlag is not known")
    assert [entry["log_level"] for entry in logs if entry["event"] == "request.refused"] == ["error"]
    assert case.push()["c1"].status == "updated"


def test_an_agreement_that_is_gone_is_not_an_outage(case: Case) -> None:
    """The additions of an agreement that was deleted: the answer says to choose again, others still get theirs."""
    listed = ask(case.world, question("additions", agreement_id=99))
    assert listed.problem is not None
    assert listed.problem.code == "record_not_found"
    assert len(ask(case.world, question("additions", agreement_id=1001)).choices) == 2


def test_the_same_question_gets_the_same_answer(case: Case) -> None:
    """A question that is delivered twice is answered with the same id, and asks ConnectWise once."""
    asked = question("companies")
    case.world.publish(asked, asked)
    first = answered(case.world, asked)
    case.world.publish(asked)
    assert ask(case.world, question("companies", search="3")).choices
    assert answer_to(case.world, asked) == first
    assert reads(case.world, COMPANIES) == 1


def test_a_question_outlives_its_worker(world: World) -> None:
    """A worker that is killed while it asks loses no question: the next one answers it."""
    world.start_worker()
    world.publish(world.connected("p1"))
    wait_for(lambda: ask(world, question("agreements", cw_company_id=1)).choices, "the connection")
    world.simulator.faults.set([faults.Hang(match=faults.Match(path=COMPANIES))])
    asked = question("companies")
    world.publish(asked)
    wait_for(Case(world).is_running, "the run")
    world.end_workers()
    assert answer_to(world, asked) is None
    world.simulator.faults.clear()
    world.start_worker()
    assert len(answered(world, asked).choices) == 3
