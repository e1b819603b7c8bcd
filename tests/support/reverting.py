"""Reverts in a World: asking for them, and what became of them."""

import uuid
from typing import Any

from messages import PushCompleted, PushRequested, RevertRequested, SyncResult
from store import completions, line_results, pushes
from tests.support.waiting import wait_for
from tests.support.world import World, now


def revert_of(push: PushRequested | RevertRequested, *companies: str, **changes: Any) -> RevertRequested:
    """A revert.requested of now; no companies = all that the push wrote."""
    fields: dict[str, Any] = {
        "partner_id": push.partner_id,
        "correlation_id": "test",
        "revert_id": str(uuid.uuid4()),
        "push_id": push.push_id if isinstance(push, PushRequested) else push.revert_id,
        "requested_at": now(),
        "requested_by": "ana@msp.example",
        "company_ids": companies or None,
    }
    return RevertRequested(**fields | changes)


def state_of(world: World, revert: RevertRequested) -> str | None:
    """The revert's state in the store."""
    with world.database.begin() as tx:
        found = pushes.find(tx, revert.partner_id, revert.revert_id)
    return found.state if found else None


def answers_of(world: World, revert: RevertRequested) -> dict[str, SyncResult]:
    """The newest answers by company."""
    with world.database.begin() as tx:
        found = line_results.of_push(tx, revert.partner_id, revert.revert_id)
    return {company: answer for company, _, _, answer in found if answer is not None}


def carried_out(world: World, revert: RevertRequested) -> dict[str, SyncResult]:
    """Send it; the final answers by company."""
    world.publish(revert)
    wait_for(lambda: state_of(world, revert) not in {None, "accepted"}, "the revert's end")
    return answers_of(world, revert)


def completion_of(world: World, revert: RevertRequested) -> PushCompleted | None:
    """The completion of the revert; None = it is not completed."""
    with world.database.begin() as tx:
        return completions.of_push(tx, revert.partner_id, revert.revert_id)
