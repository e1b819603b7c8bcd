"""`web` serves the pages; `web-user` keeps their file of users."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from worker import logs
from worker.cli.commands import Commands
from worker.cli.display.output import safe, say, table
from worker.cli.options import identifier, usage
from worker.settings import NEEDED_TO_WORK, Address, Settings, address_of, load
from worker.web import users as users_of
from worker.web.rights import Role
from worker.web.serving import serve
from worker.web.users import UsersError

users = Commands(no_args_is_help=True)

UsersFile = Annotated[Path, typer.Option("--users", metavar="FILE", help="The file of users.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]


def web(
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; others than this machine need --users.")
    ] = "127.0.0.1:9480",
    users_file: Annotated[
        Path | None, typer.Option("--users", metavar="FILE", help="Users who sign in; see `web-user`.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The address that browsers use, if a proxy adds TLS: https://billing.example"),
    ] = None,
) -> None:
    """Serve the portal of coordinators and the operators' console until SIGTERM or SIGINT.

    Without --users only this machine is served, and whoever uses it has all rights. Without RabbitMQ a worker runs too.

    Example: phin-connectwise web --users users.json --url https://billing.example --address 0.0.0.0:9480
    """
    settings = load(required_if_embedded=NEEDED_TO_WORK)
    logs.configure(settings.log_level, settings.log_format)
    with usage("--address"):
        listening = address_of(address)
    with _working(settings):
        serve(settings, listening, users_file, url, lambda reached: say(f"The pages are at {reached}"))


def serve_locally(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve the pages to this machine at a free port, until SIGTERM or SIGINT; `ready` gets their address."""
    with _working(settings):
        serve(settings, Address("127.0.0.1", 0), None, None, ready)


@users.command("set")
def set_(
    name: Name,
    users_file: UsersFile,
    *,
    coordinator: Annotated[
        str | None,
        typer.Option(metavar="PARTNER", help="Coordinates this partner in the portal.", callback=identifier),
    ] = None,
    reader: Annotated[bool, typer.Option("--reader", help="Sees the operators' console.")] = False,
    writer: Annotated[bool, typer.Option("--writer", help="Sees the operators' console, and acts there.")] = False,
) -> None:
    """Add a user, or give one new roles and a new password, which ends the user's sessions.

    The password comes from a prompt or from standard input, never from an argument.

    Example: phin-connectwise web-user set ana --users users.json --coordinator msp-1
    """
    given: list[tuple[Role, bool]] = [("coordinator", bool(coordinator)), ("reader", reader), ("writer", writer)]
    roles = tuple(role for role, is_given in given if is_given)
    if not roles:
        raise typer.BadParameter("give --coordinator PARTNER, --reader or --writer")
    try:
        users_of.put(users_file, name, roles, coordinator, _password())
    except UsersError as error:
        raise typer.BadParameter(str(error)) from None
    say(f"{name} may sign in.")


@users.command()
def remove(name: Name, users_file: UsersFile) -> None:
    """Remove a user; what the user has open ends at once."""
    try:
        removed = users_of.remove(users_file, name)
    except UsersError as error:
        raise typer.BadParameter(str(error)) from None
    if not removed:
        raise typer.BadParameter(f"{users_file} has no user {name}")
    say(f"{name} may not sign in any more.")


@users.command("list")
def list_(users_file: UsersFile) -> None:
    """List the users with their roles."""
    try:
        found = users_of.read(users_file)
    except UsersError as error:
        raise typer.BadParameter(str(error)) from None
    rows = [[safe(one.name), safe(", ".join(one.roles)), safe(one.partner or "")] for one in found.values()]
    table(("Name", "Roles", "Partner"), rows)


@contextmanager
def _working(settings: Settings) -> Iterator[None]:
    """Run a worker meanwhile if there is no broker that brings the events to one."""
    if not settings.is_embedded:
        yield
        return
    from worker.app import build

    app = build(settings)
    try:
        with app:
            yield
    finally:
        app.database.close()


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
