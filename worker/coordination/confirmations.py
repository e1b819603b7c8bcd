"""Held lines are let through by a push that confirms them, at the quantities that were shown."""

from messages import Confirmation, SyncResult
from worker.rules import quantities


def is_confirmable(result: SyncResult) -> bool:
    """True if a confirmation can let the held line through; for example not if a count is missing."""
    return bool(result.reasons) and {problem.code for problem in result.reasons} <= quantities.CONFIRMABLE


def confirmation_of(held: SyncResult) -> Confirmation:
    """Confirm a held line as it was shown: for its reasons, and from and to its quantities."""
    return Confirmation(
        company_id=held.company_id,
        reasons=tuple(problem.code for problem in held.reasons),
        quantity_before=held.quantity_before or 0,
        quantity_wanted=held.quantity_wanted,
    )
