"""A preview leaves nothing behind: not in Sync Status, not in the ledger, nor in what a later push reads."""

from datetime import timedelta

from cwclient.simulator import StateDocument, faults
from messages import BillingPeriod, PushCompleted, PushRequested, SyncResult
from store import company_status
from tests.support.case import Case
from tests.support.reverting import revert_of
from tests.support.waiting import wait_for
from tests.support.world import now

DECEMBER = BillingPeriod.parse("2026-12")
MISTYPED = BillingPeriod.parse("2027-10")


def _preview(case: Case, users: dict[int, int], period: BillingPeriod) -> PushRequested:
    return case.world.push("p1", users, period=period).model_copy(update={"mode": "preview"})


def _ended(case: Case, push: PushRequested) -> dict[str, SyncResult]:
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the end")
    return {company: answer for company, answer in case.world.answers(push).items() if answer is not None}


def _sync_status(case: Case) -> list[SyncResult]:
    with case.world.database.begin() as tx:
        return company_status.of_partner(tx, "p1")


def test_a_preview_of_a_mistyped_period_hides_no_push(case: Case) -> None:
    """Sync Status, the ledger and the next push are as if nobody had tried: lines held, failed and skipped in vain."""
    additions = [{"id": 100_002, "agreementId": 1002, "quantity": 1, "billCustomer": "DoNotBill"}]
    tenant = {"company_identifier": "cw-p1", "additions": additions}
    _ended(case, case.world.push("p1", {1: 5, 2: 1}, period=DECEMBER))
    wait_for(lambda: len(_sync_status(case)) == 2, "Sync Status")
    before, written = _sync_status(case), case.world.ledger()

    case.world.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))
    tried = _ended(case, _preview(case, {1: 0, 2: 7, 3: 4}, MISTYPED))
    assert {company: one.status for company, one in tried.items()} == {"c1": "held", "c2": "failed", "c3": "skipped"}
    assert {one.mode for one in tried.values()} == {"preview"}
    assert (_sync_status(case), case.world.ledger()) == (before, written)

    (again,) = _ended(case, case.world.push("p1", {1: 6}, period=DECEMBER)).values()
    assert (again.status, again.mode, again.quantity_after) == ("updated", "apply", 6)


def test_a_preview_does_not_tell_how_a_lost_write_ended(case: Case) -> None:
    """A push whose answer was lost still says `updated`, though a preview has read the addition before it."""
    lost = faults.LostResponse(match=faults.Match(path=r"/additions/100001$", method="PATCH"), times=1)
    case.world.simulator.faults.set([lost])
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    wait_for(lambda: any(row.outcome is None for row in case.world.ledger()), "the lost write")
    tried = _ended(case, _preview(case, {1: 5}, push.period))
    assert (tried["c1"].status, tried["c1"].quantity_before) == ("preview", 5)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    told = case.world.answers(push)["c1"]
    assert told is not None
    assert (told.status, told.quantity_before, told.quantity_after) == ("updated", 1, 5)


def test_results_and_completions_name_their_mode(busy: Case) -> None:
    """A portal that has only the messages tells a preview and a revert from a push, whatever became of the lines."""
    push = busy.world.push("p1", {1: 5, 3: 2})
    preview = push.model_copy(update={"push_id": "tried", "mode": "preview", "requested_at": now()})
    revert = revert_of(push, requested_at=now() + timedelta(seconds=1))
    unknown = revert_of(push, push_id="nobody's")
    platform = busy.world.platform
    assert platform is not None

    def modes(push_id: str) -> set[tuple[str, str | None]]:
        named = [one for one in list(platform.received) if isinstance(one, SyncResult | PushCompleted)]
        return {(one.type, one.mode) for one in named if one.push_id == push_id}

    for asked, push_id, mode in (
        (preview, "tried", "preview"),
        (push, push.push_id, "apply"),
        (revert, revert.revert_id, "revert"),
    ):
        busy.world.publish(asked)
        both = {("sync.result.v1", mode), ("push.completed.v1", mode)}
        wait_for(lambda push_id=push_id, both=both: modes(push_id) == both, f"the {mode}")  # type: ignore[misc]
    busy.world.publish(unknown)
    wait_for(lambda: modes(unknown.revert_id) == {("push.completed.v1", "revert")}, "the refusal")
