"""Pauses by operators, and their end: what they do is kept, with who, when and why."""

from store import Database, Tx, leases, operations, pauses
from store.operation_queries import Origin

NOT_PAUSED = "it was not paused"


def pause(tx: Tx, who: str, *, by: str, why: str, origin: Origin) -> None:
    """Pause a partner, or EVERYBODY."""
    pauses.pause(tx, who, by, why)
    operations.note(tx, "pause", by=by, why=why, origin=origin, partner_id=who or None)


def resume(database: Database, who: str, *, by: str, why: str | None, origin: Origin) -> bool:
    """End the pause of a partner, or that of EVERYBODY, and wake whom it kept waiting. Returns True if there was one.

    Raises StoreError.
    """
    with database.begin() as tx:
        failing = leases.failing_partners(tx)
    for partner_id in failing:
        # The time of the pause must not count as time of failing.
        if who in {partner_id, pauses.EVERYBODY}:
            with database.partner(partner_id) as tx:
                leases.reset_failures(tx, partner_id)
    # One transaction, also without a pause: a repetition after an interruption still wakes the partners.
    everybody = who == pauses.EVERYBODY
    with database.begin() if everybody else database.partner(who) as tx:
        ended = pauses.resume(tx, who)
        if everybody:
            leases.wake_all(tx)
        else:
            leases.wake(tx, who)
        refused = None if ended else NOT_PAUSED
        operations.note(tx, "resume", by=by, why=why, origin=origin, partner_id=who or None, refused=refused)
    return ended
