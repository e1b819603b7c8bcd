"""`connection`: connect a partner's ConnectWise, have its rights checked, disconnect it."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from messages import ConnectionChanged, ConnectionCheckRequested
from store import Tx, connections, mappings
from store.connections import ConnectionVersion
from worker.checks.connection_check import last_check
from worker.cli.commands import Commands
from worker.cli.display import connection_table
from worker.cli.display.output import complain, dump, plural, say
from worker.cli.exits import UNFINISHED
from worker.cli.known_partner import require_known_partner
from worker.cli.options import AsJson, By, CaFile, NoWait, Partner, Timeout, Yes, agree, ca_bundle, identifier, usage
from worker.cli.session import Session, WorkProgress, session, still_running
from worker.coordination.connecting import connected
from worker.handlers.connections import tenant_of
from worker.rules.pauses import OURS, PAUSES

commands = Commands(no_args_is_help=True)


@commands.command("set")
def set_(
    partner: Partner,
    site: Annotated[str, typer.Option(metavar="URL", help="The URL used to log in to ConnectWise.")],
    company_identifier: Annotated[
        str, typer.Option(metavar="TEXT", help="The Company ID of the ConnectWise login page.")
    ],
    public_key: Annotated[str, typer.Option(metavar="KEY", help="The public key of the API member.")],
    *,
    private_key_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Holds the private key; else it is read from standard input."),
    ] = None,
    ca_file: CaFile = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Save the connection, sealed, and print what its check found. Exit code 1 if it failed.

    Asks first if another ConnectWise was connected and companies are mapped: all of them are to be mapped again.

    The private key comes from a file, from standard input, or is asked for; never from an argument. It is sealed with
    the first of PHIN_CONNECTWISE_SEAL_KEYS before it leaves this process.

    Example: phin-connectwise connection set --partner msp-1 --site https://na.myconnectwise.net
    --company-identifier acme --public-key AbCd1234 --private-key-file key.txt
    """
    authority = ca_bundle(ca_file)
    with usage("private key"):
        private_key = _private_key(private_key_file)
    with session(works=not no_wait) as opened:
        with usage():
            event = connected(
                opened.settings,
                opened.now(),
                partner,
                site=site,
                company_identifier=company_identifier,
                public_key=public_key,
                private_key=private_key,
                ca_bundle=authority,
            )
        _agree(opened, event, yes=yes)
        version = save(opened, event, timeout=timeout, wait=not no_wait)
    if no_wait:
        complain("Sent. See it with `phin-connectwise connection list`.")
        return
    if version is None or (version.version == _version(event) and version.check is None):
        still_running(f"phin-connectwise connection list --partner {partner}")
        raise typer.Exit(UNFINISHED)
    if version.version != _version(event):
        complain("A newer connection has been saved meanwhile.")
    raise typer.Exit(_show_found(version, as_json=as_json))


@commands.command()
def check(
    partner: Partner,
    *,
    by: By,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Check the saved connection again now, and print what was found. Exit code 1 if it failed.

    Whether quantities may be edited cannot be asked: that is as ConnectWise took, or refused, the last write.
    """
    with session(works=True) as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            before = connections.current(tx, partner)
        if before is None or before.tenant is None:
            complain(f"Partner {partner} is not connected.")
            raise typer.Exit(UNFINISHED)
        at = opened.now()
        with usage():
            event = ConnectionCheckRequested(
                partner_id=partner, correlation_id=_correlation(at), requested_at=at, requested_by=by
            )

        def found(tx: Tx) -> ConnectionVersion | None:
            version = connections.current(tx, partner)
            return version if version and version.check_due_at is None and version.check != before.check else None

        def progress(tx: Tx) -> WorkProgress:
            version = connections.current(tx, partner)
            accepted = version is not None and version.check_due_at is not None
            return WorkProgress(done=0, total=1, accepted=accepted, finished=found(tx) is not None)

        see = f"phin-connectwise connection list --partner {partner}"
        opened.carry_out([event], progress, what="Checking the connection", timeout=timeout, wait=True, see=see)
        with opened.database.begin() as tx:
            version = found(tx)
    if version is None:
        still_running(see)
        raise typer.Exit(UNFINISHED)
    raise typer.Exit(_show_found(version, as_json=as_json))


@commands.command()
def remove(partner: Partner, *, yes: Yes = False, no_wait: NoWait = False, timeout: Timeout = 60.0) -> None:
    """Disconnect ConnectWise: its keys are forgotten, and pushes fail until it is connected again. Asks first."""
    with session(works=not no_wait) as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
        agree(f"The keys of partner {partner} are forgotten, and nothing can be billed. Disconnect?", yes=yes)
        with usage():
            at = opened.now()
            event = ConnectionChanged(
                partner_id=partner, correlation_id=_correlation(at), changed_at=at, disconnected=True
            )
        version = save(opened, event, timeout=timeout, wait=not no_wait)
    if not no_wait and version is None:
        still_running(f"phin-connectwise connection list --partner {partner}")
        raise typer.Exit(UNFINISHED)
    complain("Sent." if no_wait else "Disconnected.")


@commands.command("list")
def list_(
    partner: Annotated[
        str | None, typer.Option("--partner", metavar="ID", help="Only this partner.", callback=identifier)
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the connections and what their checks found."""
    with session() as opened, opened.database.begin() as tx:
        if partner is not None:
            require_known_partner(tx, partner)
        found = connections.all_current(tx, partner)
    if as_json:
        dump({"connections": [connection_table.as_json(version) for version in found]})
    elif found:
        connection_table.show_all(found)
    else:
        say("No connection has been saved.")


def save(opened: Session, event: ConnectionChanged, *, timeout: float, wait: bool) -> ConnectionVersion | None:
    """Send a connection and wait for its check. Returns its stored version, or a newer one; None = not in time."""
    see = f"phin-connectwise connection list --partner {event.partner_id}"

    def newest(tx: Tx) -> ConnectionVersion | None:
        version = connections.current(tx, event.partner_id)
        return version if version and version.version >= _version(event) else None

    def progress(tx: Tx) -> WorkProgress:
        version = newest(tx)
        finished = version is not None and version.check_due_at is None
        return WorkProgress(done=0, total=1, accepted=version is not None, finished=finished)

    opened.carry_out([event], progress, what="Checking the connection", timeout=timeout, wait=wait, see=see)
    with opened.database.begin() as tx:
        return newest(tx)


def _agree(opened: Session, event: ConnectionChanged, *, yes: bool) -> None:
    """Ask before mappings lose the ConnectWise that they were made under."""
    with opened.database.begin() as tx:
        before = connections.current(tx, event.partner_id)
        mapped = [one for one in mappings.of_partner(tx, event.partner_id) if one.addition is not None]
    if before is None or before.tenant in {None, tenant_of(event)} or not mapped:
        return
    losing = (
        f"{plural(len(mapped), 'company', 'companies')} are mapped to {before.site_url} {before.company_identifier}"
    )
    agree(f"{losing}; each has to be mapped again before it is billed. Connect another ConnectWise?", yes=yes)


def _show_found(version: ConnectionVersion, *, as_json: bool) -> int:
    """Print what the check of a version found. Returns the exit code."""
    checked = last_check(version)
    if checked is not None and checked.problem is not None and checked.problem.code in OURS:
        complain(f"{PAUSES[checked.problem.code]}.")
    if as_json:
        dump(connection_table.as_json(version))
    elif checked is not None:
        connection_table.show(checked)
    return 0 if checked is not None and checked.status == "ok" else UNFINISHED


def _private_key(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Private key", hide_input=True, err=True))


def _correlation(at: datetime) -> str:
    return f"connection {at.isoformat()}"


def _version(event: ConnectionChanged) -> connections.Version:
    return (event.changed_at, str(event.id))
