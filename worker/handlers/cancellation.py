"""Cancelling a push: what is written stays, what is being written is answered by that, the rest is `cancelled`."""

from store import Tx, ledger, line_results, targets
from store.schema import OPEN_STATUSES
from worker.rules.problems import problem
from worker.sync.results import result


def cancel(tx: Tx, partner_id: str, push_id: str) -> int:
    """Answer the lines of a push that are open and not being written; how many. The run answers the others.

    Call it inside `Database.partner(partner_id)`.
    """
    under_way = ledger.companies_under_way(tx, partner_id)
    lines = [
        line
        for line in line_results.lines_with_status(tx, partner_id, push_id, *OPEN_STATUSES)
        if line.company_id not in under_way
    ]
    open_wishes = targets.of_companies(tx, partner_id, {line.company_id for line in lines})
    mine = [wish for wish in open_wishes.values() if wish.push_id == push_id and wish.due_at is not None]
    targets.settle(tx, partner_id, [(wish, None) for wish in mine])
    why = problem("cancelled")
    line_results.record(tx, (result(line, "cancelled", attempts=line.attempts, problem=why) for line in lines))
    return len(lines)
