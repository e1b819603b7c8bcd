"""A replay of failed lines asks exactly these again, in a new round of their push."""

from dataclasses import replace
from typing import Any

from messages import Confirmation, PushRequested, RevertRequested, SyncResult
from store import Database, line_results, now, pushes, reopening, targets
from store.pushes import Line, Restore
from store.reopening import Reopened
from tests.support.samples import PARTNER, TENANT, minute, push, sync_result
from tests.support.store import accept

THREE = {"c-1": 1, "c-2": 2, "c-3": 3}


def _failed(database: Database, event: PushRequested, *companies: str) -> None:
    """The push was accepted and these lines failed; the others were updated."""
    accept(database, event)
    results = [
        sync_result(event, line.company_id, "failed" if line.company_id in companies else "updated")
        for line in event.lines
    ]
    with database.partner(PARTNER) as tx:
        open_wishes = targets.unsettled(tx, PARTNER)
        targets.settle(tx, PARTNER, [(target, None) for target in open_wishes])
        line_results.record(tx, now(tx), results)


def _open_again(database: Database, event: PushRequested) -> Reopened | None:
    with database.partner(PARTNER) as tx:
        return reopening.reopen_push(tx, event, now(tx))


def _statuses(database: Database, push_id: str = "p-1") -> dict[str, int]:
    with database.begin() as tx:
        return line_results.count_by_status(tx, PARTNER, push_id)


def test_only_the_failed_lines_are_asked_again(database: Database) -> None:
    """A line that is answered otherwise keeps its answer; the push is under way again and is completed once more."""
    event = push(users=THREE)
    _failed(database, event, "c-1", "c-2")
    part = event.model_copy(update={"lines": event.lines[1:]})
    assert _open_again(database, part) == Reopened([("p-1", "c-2")], [])
    assert _statuses(database) == {"failed": 1, "pending": 1, "updated": 1}
    with database.begin() as tx:
        kept = pushes.find(tx, PARTNER, "p-1")
        due = [target.company_id for target in targets.unsettled(tx, PARTNER)]
        line = pushes.lines(tx, PARTNER, [("p-1", "c-2")])["p-1", "c-2"]
    assert kept is not None
    assert (kept.round, kept.state, due, line.sequence) == (1, "accepted", ["c-2"], 1)
    assert _open_again(database, part) == Reopened([], [])


def test_what_a_newer_push_took_over_is_not_wanted_again(database: Database) -> None:
    """An old count never comes back over a newer one, whoever replays it."""
    old, new = push(users=THREE), push("p-2", {"c-1": 9}, at=5)
    _failed(database, old, "c-1", "c-2")
    _failed(database, new)
    assert _open_again(database, old) == Reopened([("p-1", "c-1"), ("p-1", "c-2")], [("p-1", "c-1")])
    with database.begin() as tx:
        assert [(target.company_id, target.push_id) for target in targets.unsettled(tx, PARTNER)] == [("c-2", "p-1")]


def test_another_question_opens_nothing(database: Database) -> None:
    """Other counts, another time, period or mode, a company that was not asked: not a replay of this push."""
    event = push(users={"c-1": 1})
    _failed(database, event, "c-1")
    changes = [
        push(users={"c-1": 2}),
        push(users={"c-1": 1, "c-2": 1}),
        push(users={"c-1": 1}, at=1),
        push(users={"c-1": 1}, month="2025-10"),
        push(users={"c-1": 1}, mode="preview"),
        push("p-unknown", {"c-1": 1}),
    ]
    assert [_open_again(database, change) for change in changes] == [None] * len(changes)
    assert _statuses(database) == {"failed": 1}


def test_a_preview_is_asked_again(database: Database) -> None:
    """The failed line of a preview is due again, and touches no target."""
    event = push(mode="preview")
    accept(database, event)
    result: SyncResult = sync_result(event, status="failed")
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), [result])
    assert _open_again(database, event) == Reopened([("p-1", "c-1")], [])
    with database.begin() as tx:
        assert [line.company_id for line in pushes.due_preview_lines(tx, PARTNER, now(tx), 10)] == ["c-1"]
        assert targets.unsettled(tx, PARTNER) == []


def test_what_newer_pushes_have_overtaken_is_counted_before(database: Database) -> None:
    """A dry run says how many lines of a replay would write nothing."""
    old = push(users=THREE)
    _failed(database, old, "c-1", "c-2", "c-3")
    _failed(database, push("p-2", {"c-1": 9, "c-3": 9}, at=5))
    with database.begin() as tx:
        lines = pushes.lines(tx, PARTNER, [("p-1", company) for company in THREE])
        assert reopening.count_overtaken(tx, list(lines.values())) == 2


def test_other_confirmations_are_another_question(database: Database) -> None:
    """A coordinator who confirmed something under a push id that was used without is not told that it is done."""
    event = push(users=THREE)
    _failed(database, event, "c-1")
    confirmed = Confirmation(company_id="c-2", reasons=("big_jump",), quantity_before=4)
    assert _open_again(database, event.model_copy(update={"confirmations": (confirmed,)})) is None
    assert _open_again(database, event.model_copy(update={"connection_changed_at": minute(1)})) is None
    line = event.lines[0].model_copy(update={"mapping_changed_at": minute(1)})
    assert _open_again(database, event.model_copy(update={"lines": (line,)})) is None
    assert _open_again(database, event) == Reopened([("p-1", "c-1")], [])


def test_confirmed_lines_are_asked_again(database: Database) -> None:
    """A part of a push with the confirmations of its lines is the question that it asked."""
    confirmed = tuple(
        Confirmation(company_id=company, reasons=("big_jump",), quantity_before=4) for company in ("c-1", "c-2")
    )
    event = push(users=THREE, confirmations=confirmed)
    _failed(database, event, "c-2")
    part = event.model_copy(update={"lines": event.lines[1:], "confirmations": confirmed[1:]})
    assert _open_again(database, part) == Reopened([("p-1", "c-2")], [])


def test_a_revert_asks_only_what_it_can_put_back(database: Database) -> None:
    """Lines that failed as there was nothing to put back stay as they are; another question opens nothing."""
    accept(database, push(users=THREE))
    event = RevertRequested(
        partner_id=PARTNER,
        correlation_id="q-1",
        revert_id="r-1",
        push_id="p-1",
        requested_at=minute(1),
        requested_by="ana",
    )
    with database.partner(PARTNER) as tx:
        known = pushes.find(tx, PARTNER, "p-1")
        assert known is not None
        kept = replace(known, push_id="r-1", requested_at=minute(1), mode="revert", reverts="p-1")
        restore = Restore(TENANT, (7, 11), quantity=4.5, holds=5.0)
        lines = [Line(kept, company, company, 1, None, None) for company in THREE]
        lines = [replace(line, restore=restore if line.company_id != "c-3" else None) for line in lines]
        pushes.save(tx, kept, lines)
        targets.request(tx, kept, {"c-1": 1, "c-2": 2}, now(tx))
        line_results.record(tx, now(tx), [sync_result(push("r-1"), company, "failed") for company in THREE])
        others: list[dict[str, Any]] = [{"push_id": "p-2"}, {"requested_at": minute(2)}, {"revert_id": "r-2"}]
        assert [reopening.reopen_revert(tx, event.model_copy(update=other), now(tx)) for other in others] == [None] * 3
        part = event.model_copy(update={"company_ids": ("c-2", "c-3")})
        assert reopening.reopen_revert(tx, part, now(tx)) == Reopened([("r-1", "c-2")], [])
        assert reopening.reopen_revert(tx, event, now(tx)) == Reopened([("r-1", "c-1")], [])
        assert [line.company_id for line in line_results.lines_with_status(tx, PARTNER, "r-1", "failed")] == ["c-3"]
        assert [line.company_id for line in pushes.lines_restoring(tx, PARTNER, "r-1", [(7, 11)])] == ["c-1", "c-2"]
