"""A preview says what the push will do, line by line, and does none of it."""

from pathlib import Path
from typing import Any

from cwclient.simulator import StateDocument
from messages import MappingChanged, PushRequested, SyncResult
from tests.support.waiting import wait_for
from tests.support.world import World

COMPANIES = 200
USERS = 30
# What is special about company n of each twenty; the others have 1 in ConnectWise and 30 users.
SPECIAL: dict[int, dict[str, Any]] = {
    0: {"quantity": USERS},
    1: {"quantity": 28.5},
    2: {"cancelledDate": "2026-01-01T00:00:00Z"},
    3: {"billCustomer": "DoNotBill"},
    4: {"effectiveDate": "2099-01-01T00:00:00Z"},
    5: {"quantity": 80, "lessIncluded": 40, "unitPrice": 2.5},
    6: {"quantity": 25, "lessIncluded": 5, "unitPrice": 2.5},
}
UNMAPPED, UNFINISHED, GONE, AT_LEAST, SUMMED, WITH_THE_NEXT, REFUSED, WITH_THAT = 7, 8, 9, 10, 11, 12, 13, 14
NOBODY = 15


def _mapped(world: World, number: int) -> MappingChanged | None:
    """The mapping of company n; None = it has none."""
    mapped, place = world.mapped("p1", number), number % 20
    shared = {"cw_company_id": number - 1, "agreement_id": 999 + number, "addition_id": 99_999 + number}
    match place:
        case 7:
            return None
        case 8:
            return mapped.model_copy(update={"addition_id": None})
        case 9:
            return mapped.model_copy(update={"addition_id": 999_999})
        case 10:
            return mapped.model_copy(update={"minimum": 45})
        case 11:
            return mapped.model_copy(update={"rule": "sum"})
        case 12:
            return mapped.model_copy(update={**shared, "rule": "sum"})
        case 14:
            return mapped.model_copy(update=shared)
    return mapped


def _said(answer: SyncResult) -> tuple[object, ...]:
    """What a line of a push says, of a preview what it will say."""
    status: str = answer.status
    if status == "preview":
        status = "unchanged" if answer.quantity_before == answer.quantity_wanted else "updated"
    return (
        status,
        answer.quantity_before,
        answer.quantity_wanted,
        [problem.code for problem in answer.reasons],
        answer.problem and answer.problem.code,
    )


def _answers(world: World, push: PushRequested) -> dict[str, SyncResult]:
    world.publish(push)
    wait_for(lambda: world.state_of(push) == "completed", "the push", 120)
    return {company: answer for company, answer in world.answers(push).items() if answer is not None}


def test_the_push_does_what_the_preview_said(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """For 200 companies with every special case: same status, quantities and reasons; nothing is written before."""
    with World(amqp_url, postgresql_url, tmp_path, companies=COMPANIES, big_jump_count=40) as world:
        numbers = range(1, COMPANIES + 1)
        records = [
            {"id": 100_000 + number, "agreementId": 1000 + number, "quantity": 1} | SPECIAL[number % 20]
            for number in numbers
            if number % 20 in SPECIAL
        ]
        invoiced = [
            {"id": 1000 + number, "company": {"id": number}, "name": "A", "nextInvoiceDate": "2027-01-01T00:00:00Z"}
            for number in numbers
            if number % 20 == 6
        ]
        document = {"tenants": [{"company_identifier": "cw-p1", "agreements": invoiced, "additions": records}]}
        world.simulator.state.merge(StateDocument.model_validate(document))
        connection, mapped = world.connected("p1"), [one for n in numbers if (one := _mapped(world, n)) is not None]
        world.publish(connection, *mapped)
        world.start_worker()
        counts = dict.fromkeys(numbers, USERS) | {n: 0 for n in numbers if n % 20 == NOBODY}
        # Company 12 has a sum with 11; the last one's partner is not pushed.
        del counts[191]
        push = world.push("p1", counts, connection=connection, mappings=mapped)
        preview = push.model_copy(update={"push_id": "preview", "mode": "preview"})

        foreseen = _answers(world, preview)
        assert world.writes() == []
        assert world.ledger() == []

        done = _answers(world, push)
        assert {c: _said(answer) for c, answer in done.items()} == {c: _said(answer) for c, answer in foreseen.items()}
        assert {str(answer.status) for answer in done.values()} == {"updated", "unchanged", "held", "failed", "skipped"}
        told = [problem for answer in done.values() for problem in (*answer.reasons, answer.problem) if problem]
        assert {problem.code for problem in told} == {
            "addition_cancelled", "addition_not_begun", "below_included", "big_jump", "group_incomplete",
            "mapping_unfinished", "not_billable", "record_not_found", "shared_addition", "unmapped", "zero",
        }  # fmt: skip
        money = foreseen["c6"]
        assert (money.difference, money.amount, money.amount_difference) == (5, 62.5, 12.5)
        assert [warning.code for warning in money.warnings] == ["maybe_invoiced"]
        assert foreseen["c5"].amount_difference == -100

        written = len(world.writes())
        again = _answers(world, preview.model_copy(update={"push_id": "preview-2"}))
        assert {answer.difference for answer in again.values() if answer.status == "preview"} == {0}
        assert len(world.writes()) == written
        assert {c: answer and answer.id for c, answer in world.answers(push).items()} == {
            c: answer.id for c, answer in done.items()
        }
