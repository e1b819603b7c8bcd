"""`revert`: put back the quantities that a push has overwritten."""

from typing import Annotated

import typer
from uuid6 import uuid7

from messages import RevertRequested
from store import pushes
from worker.cli.display.output import complain, plural
from worker.cli.exits import UNFINISHED, USAGE
from worker.cli.known_company import company_id_of
from worker.cli.known_partner import require_known_partner
from worker.cli.options import AsJson, By, NoWait, Partner, Timeout, Yes, agree, identifier, usage
from worker.cli.push import push_progress
from worker.cli.session import session, still_running
from worker.cli.status import show


def revert(
    partner: Partner,
    *,
    push_id: Annotated[
        str, typer.Option("--push", metavar="ID", help="The push that is to be taken back.", callback=identifier)
    ],
    companies: Annotated[
        list[str] | None,
        typer.Option(
            "--company", metavar="COMPANY", help="Only this company, by id or name; may be given again. By default all."
        ),
    ] = None,
    by: By,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 600.0,
    as_json: AsJson = False,
) -> None:
    """Put back the quantities that additions held before a push. Asks first.

    Only where ConnectWise still holds what the push wrote; what was changed since is left alone, and named. A revert
    is a push of its own, with results of its own: `status --push` shows it, `push cancel` stops it, and it can be
    reverted. Exit code 1 if a line failed or is held, if there is nothing to revert, or if it is not finished in time.

    Example: phin-connectwise revert --partner msp-1 --push 0198… --company c-17
    """
    with session(works=not no_wait) as opened:
        with opened.database.begin() as tx:
            reverted = pushes.find(tx, partner, push_id)
            require_known_partner(tx, partner)
            company_ids = tuple(dict.fromkeys(company_id_of(tx, partner, company) for company in companies or ()))
        with usage():
            revert_id = str(uuid7())
            event = RevertRequested(
                partner_id=partner,
                correlation_id=revert_id,
                revert_id=revert_id,
                push_id=push_id,
                requested_at=opened.now(),
                requested_by=by,
                company_ids=company_ids or None,
            )
        if reverted is None:
            complain(f"No push {push_id} of partner {partner} is known; `phin-connectwise ledger list` names pushes.")
            raise typer.Exit(USAGE)
        whose = f"{plural(len(company_ids), 'company', 'companies')} of it" if company_ids else "all of it"
        agree(f"Put back what push {push_id} of {reverted.period} wrote, {whose}?", yes=yes)
        see = f"phin-connectwise status --partner {partner} --push {revert_id}"
        expected = len(company_ids) or reverted.line_count
        finished = opened.carry_out(
            [event],
            lambda tx: push_progress(tx, partner, revert_id, expected),
            what=f"Revert {reverted.period}",
            timeout=timeout,
            wait=not no_wait,
            sent=f"Revert {revert_id}: see it at any time with `{see}`.",
            see=see,
            unit="line",
        )
        if no_wait and opened.settings.is_embedded:
            complain(opened.goes_on(expected, "line", None))
        if not finished and not no_wait:
            still_running(see)
        trouble = show(opened, partner, revert_id, as_json=as_json, table=not no_wait)
    raise typer.Exit(UNFINISHED if trouble or not (finished or no_wait) else 0)
