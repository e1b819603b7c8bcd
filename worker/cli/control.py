"""`push cancel`, `pause` and `resume`: an operator stops work, and lets it continue."""

from typing import Annotated

import typer

from messages import PushCancelRequested
from store import Tx, backlog, operations, outbox, pauses, pushes
from worker.cli.display import results_table
from worker.cli.display.output import complain, say
from worker.cli.exits import UNFINISHED, USAGE
from worker.cli.known_partner import require_known_partner
from worker.cli.options import By, NoWait, Partner, Timeout, Yes, agree, identifier, usage
from worker.cli.session import WorkProgress, session, still_running
from worker.coordination import results
from worker.operations import pausing

OnePartner = Annotated[
    str | None, typer.Option("--partner", metavar="ID", help="The partner's id in Phin.", callback=identifier)
]


def cancel(
    push_id: Annotated[str, typer.Argument(metavar="PUSH", help="The push's id.", callback=identifier)],
    partner: Partner,
    *,
    by: By,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 120.0,
) -> None:
    """Stop a push: what is written stays, the rest is `cancelled`. Asks first; exit code 1 if not over in time.

    An id that nobody has sent ends with 2. With RabbitMQ such a push may be on its way, so it is cancelled when it
    comes: that is not waited for, and ends with 1.

    Example: phin-connectwise push cancel --partner msp-1 0198…
    """
    with session(works=not no_wait) as opened:
        at = opened.now()
        with usage():
            event = PushCancelRequested(
                partner_id=partner,
                correlation_id=f"cancel {at.isoformat()}",
                push_id=push_id,
                requested_at=at,
                requested_by=by,
            )
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            known = pushes.find(tx, partner, push_id)
            waits = opened.settings.is_embedded and outbox.holds_correlation_id(tx, push_id)
        if known is None and opened.settings.is_embedded and not waits:
            complain(f"No push {push_id} of partner {partner} was sent; there is nothing to cancel. Correct the id.")
            raise typer.Exit(USAGE)
        if known is not None and known.state != "accepted":
            complain("The push is over; there is nothing to cancel.")
            raise typer.Exit(0)

        agree(f"What push {push_id} has not written yet is not billed by it. Cancel it?", yes=yes)

        def progress(tx: Tx) -> WorkProgress:
            found = pushes.find(tx, partner, push_id)
            over = found is not None and found.state != "accepted"
            return WorkProgress(done=int(over), total=1, accepted=found is not None, finished=over)

        with opened.database.begin() as tx:
            operations.note(
                tx, "cancel", by=by, why=None, origin="command", partner_id=partner, chosen={"push_id": push_id}
            )
        see = f"phin-connectwise status --partner {partner} --push {push_id}"
        what = f"Cancelling {push_id}"
        # RabbitMQ may hold a push that no worker has accepted, and cannot be asked.
        wait = not no_wait and (known is not None or waits)
        finished = opened.carry_out([event], progress, what=what, timeout=timeout, wait=wait, see=see, unit="push")
        if known is None and not waits:
            complain(
                f"No worker has accepted a push {push_id} of partner {partner}. If it is on its way, it is cancelled"
            )
            complain("when it comes; if nobody has sent it, correct the id.")
            raise typer.Exit(UNFINISHED)
        if no_wait:
            complain(f"Sent. See it with `{see}`.")
            return
        if not finished:
            still_running(see)
            raise typer.Exit(UNFINISHED)
        with opened.database.begin() as tx:
            say(results_table.summary(results.of_push(tx, partner, push_id)))


def pause(
    partner: OnePartner = None,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="All partners.")] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Shown by `health`.")],
    by: By,
) -> None:
    """Leave ConnectWise of a partner, or of all, alone until `resume`. What is under way is finished.

    Pushes are accepted meanwhile, and wait.
    """
    who = _who(partner, everybody=everybody)
    with session() as opened, opened.database.begin() as tx:
        if partner is not None:
            require_known_partner(tx, partner)
        pausing.pause(tx, who, by=by, why=why, origin="command")
    say(f"{_named(who)} paused.")


def resume(
    partner: OnePartner = None,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="End the pause of all partners.")] = False,
    why: Annotated[str | None, typer.Option("--why", metavar="TEXT", help="Kept with it.")] = None,
    by: By,
) -> None:
    """End a pause: what waits goes on, by the worker or, without RabbitMQ, by the next command that pushes.

    The pause of all and that of one partner are ended one by one.
    """
    who = _who(partner, everybody=everybody)
    with session() as opened:
        everybody = who == pauses.EVERYBODY
        with opened.database.begin() as tx:
            if not everybody and pauses.find(tx, who) is None:
                require_known_partner(tx, who)
        ended = pausing.resume(opened.database, who, by=by, why=why, origin="command")
        with opened.database.begin() as tx:
            remaining = None if everybody else pauses.find(tx, who)
            waiting = backlog.open_lines(tx, None if everybody else who)
        goes_on = f" {opened.goes_on(waiting, 'line', None)}" if waiting else ""
    say(f"{_named(who)} resumed.{goes_on}" if ended else f"{_named(who)} not paused: nothing to do.")
    if remaining is not None:
        complain("All partners are paused still; end that with `phin-connectwise resume --all`.")


def _who(partner: str | None, *, everybody: bool) -> str:
    if (partner is None) != everybody:
        raise typer.BadParameter("give either --partner or --all")
    return partner or pauses.EVERYBODY


def _named(who: str) -> str:
    return "All partners are" if who == pauses.EVERYBODY else f"Partner {who} is"
