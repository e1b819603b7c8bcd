"""Pushes: what is asked is kept once, each line gets its answer, and it is completed once, with its last answer."""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

import pytest
from sqlalchemy import delete, select

from messages import PushCompleted, PushRequested, SyncResult
from store import Database, absent, completions, connections, line_results, mappings, now, outbox, pushes, targets
from store.outbox import OutboxRow
from store.pushes import Acceptance, Accepted, LineKey
from store.schema import outbox as outbox_table
from store.targets import Holder
from tests.support.samples import NOVEMBER, PARTNER, TENANT, connection, mapping, minute, push, sync_result
from tests.support.store import accept, claimed, leaving
from tests.support.waiting import together

THREE = {"c-1": 1, "c-2": 2, "c-3": 3}


def _answer(database: Database, *results: SyncResult) -> None:
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), results)


def _complete_ended(database: Database, push_id: str = "p-1") -> bool:
    """Complete the push if it is to be completed. Returns False if it is not."""
    completed = PushCompleted(partner_id=PARTNER, correlation_id="q-1", push_id=push_id, status="completed")
    with database.begin() as tx:
        ended = completions.ended(tx, PARTNER, [push_id])
        if ended:
            completions.complete(tx, completed)
        return bool(ended)


def test_a_new_push_is_kept_with_its_lines(database: Database) -> None:
    """All that a result must name later is there: who asked, for what, and each company's users."""
    event = push(users=THREE, confirmations=())
    assert accept(database, event) == Accepted(Acceptance.NEW, [])
    with database.begin() as tx:
        kept = pushes.find(tx, PARTNER, "p-1")
        lines = line_results.lines_with_status(tx, PARTNER, "p-1", "pending")
        progress = line_results.progress(tx, PARTNER, "p-1")
    assert kept is not None
    assert (kept.message_id, kept.requested_by, kept.period) == (str(event.id), event.requested_by, NOVEMBER)
    assert [(line.company_id, line.billable_users, line.push) for line in lines] == [
        (company, users, kept) for company, users in THREE.items()
    ]
    assert progress == (0, 3)


def test_the_same_push_again_is_a_repeat(database: Database) -> None:
    """A message that the broker delivers twice changes nothing."""
    accept(database, push(users=THREE))
    assert accept(database, push(users=THREE)) == Accepted(Acceptance.REPEAT, [])


def test_another_push_of_the_same_id_is_a_conflict(database: Database) -> None:
    """A push id that is used twice for different counts is told, and the first stays."""
    accept(database, push(users={"c-1": 5}), body="five")
    assert accept(database, push(users={"c-1": 6}), body="six") == Accepted(Acceptance.CONFLICT, [])
    with database.begin() as tx:
        assert [line.billable_users for line in line_results.lines_with_status(tx, PARTNER, "p-1", "pending")] == [5]


def test_partners_may_use_the_same_push_id(database: Database) -> None:
    """One partner's ids are no concern of another's."""
    accept(database, push())
    assert accept(database, push(partner_id="msp-2"), body="other").acceptance is Acceptance.NEW


@pytest.mark.parametrize(
    ("older", "newer", "superseded"),
    [
        (push("p-1", at=0), push("p-2", at=1), [("p-1", "c-1")]),
        (push("p-1", at=0), push("p-2", at=0), [("p-1", "c-1")]),
    ],
    ids=["by time", "by push id at the same time"],
)
@pytest.mark.parametrize("reordered", [False, True])
def test_the_newest_wish_wins_in_any_order(
    database: Database, older: PushRequested, newer: PushRequested, superseded: list[LineKey], *, reordered: bool
) -> None:
    """Of two pushes of one company and period the older line is superseded, whichever arrives first."""
    first, second = (newer, older) if reordered else (older, newer)
    assert accept(database, first).superseded == []
    assert accept(database, second).superseded == superseded
    with database.begin() as tx:
        [target] = targets.unsettled(tx, PARTNER)
    assert target.push_id == newer.push_id


def test_a_settled_wish_is_not_superseded(database: Database) -> None:
    """A line that has its answer keeps it when a newer push comes."""
    accept(database, push("p-1", at=0))
    with database.partner(PARTNER) as tx:
        targets.settle(tx, PARTNER, [(target, Holder(TENANT, (7, 11))) for target in targets.unsettled(tx, PARTNER)])
    assert accept(database, push("p-2", at=1)).superseded == []


def test_only_the_same_company_and_period_are_superseded(database: Database) -> None:
    """A push of another month or another company takes nobody's place."""
    accept(database, push("p-1", THREE, at=0))
    assert accept(database, push("p-2", THREE, at=1, month="2025-10")).superseded == []
    assert accept(database, push("p-3", {"c-2": 9, "c-4": 4}, at=2)).superseded == [("p-1", "c-2")]


def test_a_preview_touches_no_wish(database: Database) -> None:
    """Looking at what a push would do changes nothing that is to be billed."""
    accept(database, push("p-1", at=0))
    assert accept(database, push("p-2", {"c-1": 99}, at=1, mode="preview")).superseded == []
    with database.begin() as tx:
        [target] = targets.unsettled(tx, PARTNER)
        [line] = pushes.due_preview_lines(tx, PARTNER, target.accepted_at.replace(year=9999), limit=10)
    assert (target.push_id, target.billable_users) == ("p-1", 5)
    assert line.key == ("p-2", "c-1")


def _previewed(database: Database, at: datetime) -> list[str]:
    with database.begin() as tx:
        return [line.company_id for line in pushes.due_preview_lines(tx, PARTNER, at, limit=10)]


def test_a_line_of_a_preview_is_due_until_it_is_answered(database: Database) -> None:
    """A preview is not looked at for ever, and none of its lines is forgotten."""
    event = push(users=THREE, mode="preview")
    accept(database, event, at=minute(0))
    _answer(database, sync_result(event, "c-1", "preview"), sync_result(event, "c-3", "held"))
    assert _previewed(database, minute(0)) == ["c-2"]
    _answer(database, sync_result(event, "c-2", "skipped"))
    assert _previewed(database, minute(0)) == []


def test_a_line_of_a_preview_that_waits_is_due_at_its_time_or_when_something_comes(database: Database) -> None:
    """A preview waits for the mapping it was asked under, and no longer than needed."""
    accept(database, push(users=THREE, mode="preview"), at=minute(0))
    with database.partner(PARTNER) as tx:
        for line in pushes.due_preview_lines(tx, PARTNER, minute(0), limit=2):
            pushes.postpone_preview(tx, line, minute(1))
    assert _previewed(database, minute(0)) == ["c-3"]
    assert _previewed(database, minute(1)) == ["c-1", "c-2", "c-3"]
    with database.partner(PARTNER) as tx:
        pushes.make_previews_due(tx, PARTNER, minute(0))
    assert _previewed(database, minute(0)) == ["c-1", "c-2", "c-3"]


def test_ten_thousand_lines_are_one_push(database: Database) -> None:
    """The largest push that the contract allows is accepted, displaced and answered whole."""
    users = {f"c-{number}": number for number in range(10_000)}
    first, second = push("p-1", users, at=0), push("p-2", users, at=1)
    assert accept(database, first).superseded == []
    superseded = accept(database, second).superseded
    assert len(superseded) == 10_000
    with database.begin() as tx:
        assert len(pushes.lines(tx, PARTNER, superseded)) == 10_000
    _answer(database, *(sync_result(first, company, "superseded") for company in users))
    with database.begin() as tx:
        assert line_results.count_by_status(tx, PARTNER, "p-1") == {"superseded": 10_000}
        assert line_results.count_by_status(tx, PARTNER, "p-2") == {"pending": 10_000}


def test_an_answer_is_kept_and_leaves_in_one_transaction(database: Database) -> None:
    """The recorded answers are those that the platform is told, also when the worker is killed between."""
    event = push()
    accept(database, event)
    retrying, updated = sync_result(event, status="retrying"), sync_result(event, sequence=2)
    _answer(database, retrying)
    _answer(database, updated)
    with database.begin() as tx:
        [(company, _, _, newest)] = line_results.of_push(tx, PARTNER, "p-1")
        line = pushes.lines(tx, PARTNER, [("p-1", "c-1")])["p-1", "c-1"]
    assert (company, newest, line.status, line.sequence) == ("c-1", updated, "updated", 2)
    assert leaving(database) == [str(updated.id)]


def test_what_a_relay_has_is_not_taken_back(database: Database) -> None:
    """While the broker is away one `retrying` of a line waits at most; one that is being published stays."""
    event = push()
    accept(database, event)
    first, second, last = (sync_result(event, status="retrying", sequence=number) for number in (1, 2, 3))
    _answer(database, first)
    with database.begin() as tx:
        outbox.claim(tx, 10, 60.0)
    _answer(database, second)
    _answer(database, last)
    assert leaving(database) == [str(first.id), str(last.id)]


def test_a_repeat_says_the_recorded_answers_again(database: Database) -> None:
    """A platform that asks again gets the same answers under the same ids, and none that is still owed."""
    event = push(users=THREE)
    accept(database, event)
    results = [sync_result(event, "c-1"), sync_result(event, "c-2", "held"), sync_result(event, "c-3", "retrying")]
    _answer(database, *results)
    with database.begin() as tx:
        outbox.delete(tx, [row.id for row in claimed(tx)])
        assert line_results.republish(tx, PARTNER, "p-1") == 2
    assert sorted(leaving(database)) == sorted(str(result.id) for result in results[:2])


def test_a_repeat_of_a_completed_push_says_its_completion_again(database: Database) -> None:
    """A platform that lost everything can ask for everything."""
    event = push()
    accept(database, event)
    result = sync_result(event)
    _answer(database, result)
    completed = PushCompleted(partner_id=PARTNER, correlation_id="q-1", push_id="p-1", status="completed")
    with database.begin() as tx:
        completions.complete(tx, completed)
        tx.execute(delete(outbox_table))
        line_results.republish(tx, PARTNER, "p-1")
    assert leaving(database) == [str(result.id), str(completed.id)]


def test_a_repeats_completion_leaves_after_its_results(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many results are spread over time, the word that all are there comes last."""
    monkeypatch.setattr(line_results, "BURST", 1)
    event = push(users={f"c-{number}": 1 for number in range(20)})
    accept(database, event)
    results = [sync_result(event, line.company_id) for line in event.lines]
    _answer(database, *results)
    completed = PushCompleted(partner_id=PARTNER, correlation_id="q-1", push_id="p-1", status="completed")
    with database.partner(PARTNER) as tx:
        completions.complete(tx, completed)
        tx.execute(delete(outbox_table))
        assert line_results.republish(tx, PARTNER, "p-1") == 20
        times = dict(tx.execute(select(outbox_table.c.message_id, outbox_table.c.not_before)).all())
    assert max(times, key=lambda name: (times[name], name == str(completed.id))) == str(completed.id)
    assert len(set(times.values())) >= 19


def test_a_push_is_completed_once_with_its_last_line(database: Database) -> None:
    """No open line, and not completed yet: of two workers that see that at the same moment, one completes it."""
    event = push(users=THREE)
    accept(database, event)
    first, second, third = (sync_result(event, company) for company in THREE)
    _answer(database, first, second, third.model_copy(update={"status": "retrying"}))
    assert not _complete_ended(database)
    _answer(database, third.model_copy(update={"sequence": 2, "id": uuid4()}))
    assert sorted(together(lambda: _complete_ended(database), lambda: _complete_ended(database))) == [False, True]
    assert not _complete_ended(database)


def test_a_completion_leaves_after_the_results_that_it_counts(database: Database) -> None:
    """Not even while another worker publishes the last of them: what comes after push.completed was not counted."""
    event, other = push(users=THREE), push("p-2", {"c-9": 9}, at=1)
    accept(database, event)
    accept(database, other)
    _answer(database, *(sync_result(event, company) for company in THREE), sync_result(other, "c-9"))
    assert _complete_ended(database)

    def take(limit: int) -> list[OutboxRow]:
        with database.begin() as tx:
            return claimed(tx, limit)

    def delete_rows(rows: Sequence[OutboxRow]) -> None:
        with database.begin() as tx:
            outbox.delete(tx, [row.id for row in rows])

    of_one_worker, of_another = take(2), take(10)
    assert {row.routing_key for row in of_another} == {"sync.result.v1"}
    delete_rows(of_another)
    assert take(10) == []
    delete_rows(of_one_worker)
    assert [row.routing_key for row in take(10)] == ["push.completed.v1"]


def test_absent_companies_of_many_pushes_are_those_of_each(database: Database) -> None:
    """Pushes that end together name the same absent companies as if each had ended alone."""
    with database.partner(PARTNER) as tx:
        connections.save(tx, connection())
        for number in range(1, 5):
            mappings.save(tx, mapping(f"c-{number}", 10 + number))
    accept(database, push("p-1", {"c-1": 1, "c-2": 1}))
    accept(database, push("p-2", {"c-2": 1}, at=1))
    with database.begin() as tx:
        of_both, alone = absent.of_pushes(tx, PARTNER, ["p-1", "p-2"]), {}
        for push_id in of_both:
            alone[push_id] = absent.of_push(tx, PARTNER, push_id)
    assert of_both == alone
    assert [len(companies) for companies in alone.values()] == [2, 3]


def test_an_unknown_push_is_nobodys_to_complete(database: Database) -> None:
    """A push that was removed meanwhile is not completed."""
    assert not _complete_ended(database, "p-0")
