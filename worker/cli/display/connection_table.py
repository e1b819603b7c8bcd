"""Connections and the findings of their checks, as text and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from messages import ConnectionChecked
from store.connections import ConnectionVersion
from worker.checks.connection_check import last_check
from worker.cli.display import causes
from worker.cli.display.causes import Cause, of_problem
from worker.cli.display.output import mark, safe, say, table
from worker.cli.display.wording import title

STATES = {"granted": "good", "denied": "bad", "unproven": "unknown"}


def show(checked: ConnectionChecked) -> None:
    """Print the base URL that was found, the rights, and the problem and warnings with what to do."""
    if checked.base_url:
        say(f"{checked.company_name or 'ConnectWise'}: {checked.base_url}")
    if checked.rights:
        rows = [[mark(STATES[one.state], one.state), safe(one.right), safe(one.fix or "")] for one in checked.rights]
        table(("", "Right", "What to do"), rows, widest=46)
    if checked.problem is None:
        unproven = any(right.state == "unproven" for right in checked.rights)
        say(f"✓ Connected.{' That quantities may be edited is proven by the first push.' if unproven else ''}")
    causes.show([*_causes(checked, "Not connected")])


def _causes(checked: ConnectionChecked, who: str) -> Iterator[Cause]:
    """The problem of the connection of `who`, then the warnings of its check."""
    if checked.problem is not None:
        yield of_problem("bad", who, checked.problem)
    for problem in checked.warnings:
        yield of_problem("warning", who, problem, labelled=False)


def show_all(found: Sequence[ConnectionVersion]) -> None:
    """Print a row for each partner, the causes below."""
    table(("Partner", "ConnectWise", "", "State"), [_cells(version) for version in found])
    checks = [(version.partner_id, last_check(version)) for version in found if version.tenant is not None]
    if why := [cause for who, checked in checks if checked is not None for cause in _causes(checked, who)]:
        say()
        causes.show(why, "partners")


def as_json(version: ConnectionVersion) -> dict[str, Any]:
    """A version as JSON, with its check as it was published."""
    return {
        "partner_id": version.partner_id,
        "changed_at": version.changed_at.isoformat(),
        "connected": version.tenant is not None,
        "site_url": version.site_url,
        "company_identifier": version.company_identifier,
        "public_key": version.public_key,
        "base_url": version.base_url,
        "check": version.check,
    }


def _cells(version: ConnectionVersion) -> list[Text]:
    checked = last_check(version)
    if version.tenant is None:
        state, label = "none", "disconnected"
    elif checked is None:
        state, label = "waiting", "not checked"
    elif checked.problem is None:
        state, label = "good", "ok"
    else:
        state, label = "bad", title(checked.problem)
    where = f"{version.site_url} {version.company_identifier}" if version.tenant else ""
    return [safe(version.partner_id), safe(where), mark(state), safe(label)]
