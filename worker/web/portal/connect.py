"""Connect: the four fields, what their check found, and disconnecting."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from pydantic import ValidationError
from starlette.responses import Response

from messages import ConnectionChanged, ConnectionCheckRequested
from store import Tx, connections, mappings, newest_versions, now
from store.connections import ConnectionVersion
from worker.checks.connection_check import last_check
from worker.coordination import waiting
from worker.coordination.connecting import connected
from worker.handlers.connections import tenant_of
from worker.validation_words import in_words
from worker.web.live import stream
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.times import time_of
from worker.web.visit import Visit

LATE = timedelta(minutes=1)
"""After so long something is wrong with an event, or with the workers."""
LOST = "No worker has it yet. Ask the operators: it may be among the dead letters. Pushes wait for it, and fail then."
FIELDS = ("site_url", "company_identifier", "public_key", "private_key", "ca_bundle")


def show(visit: Visit) -> Response:
    """Show the connection, or the form."""
    version = _current(visit)
    asks = version is None or version.tenant is None or bool(visit.asked("change"))
    told = _told(visit, version)
    if (told["waits"] and not visit.asked("change")) or not asks:
        return visit.page("portal/connect.html", **told)
    values = {name: getattr(version, name) or "" if version and version.tenant else "" for name in FIELDS[:3]}
    return _form(visit, values)


def part(visit: Visit) -> Response:
    """Show the findings of the check so far."""
    return visit.page("portal/_connection.html", **_told(visit, _current(visit)))


def events(visit: Visit) -> Response:
    """Changes while the check goes on."""
    partner = visit.partner

    def look(tx: Tx) -> tuple[object, bool]:
        awaited = _Awaited.by(tx, visit)
        version = connections.current(tx, partner)
        state = version and (version.version, version.check, version.check_due_at)
        return (state, awaited.cause(tx, visit, version)), not awaited.waits(tx, version)

    return stream(visit, look)


def connect(visit: Visit) -> Response:
    """Send the connection, the private key sealed."""
    values = {name: visit.field(name).strip() for name in FIELDS}
    at = visit.site.now()
    try:
        event = connected(
            visit.site.settings,
            at,
            visit.partner,
            site=values["site_url"],
            company_identifier=values["company_identifier"],
            public_key=values["public_key"],
            private_key=values["private_key"],
            ca_bundle=values["ca_bundle"] or None,
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return _form(visit, values, {str(one["loc"][0]) if one["loc"] else "site_url": in_words(one) for one in found})
    except ValueError as error:
        return _form(visit, values, {"private_key": str(error)})
    if losing := _loses(visit, event):
        return _form(visit, values, {}, losing)
    _send(visit, event)
    return visit.go("/portal/connect", since=at.isoformat())


def check(visit: Visit) -> Response:
    """Have the connection checked again."""
    at = visit.site.now()
    correlation = f"connection {at.isoformat()}"
    event = ConnectionCheckRequested(
        partner_id=visit.partner, correlation_id=correlation, requested_at=at, requested_by=visit.by
    )
    visit.site.send([event])
    return visit.go("/portal/connect", checking=at.isoformat())


def disconnect(visit: Visit) -> Response:
    """Have the keys forgotten."""
    at = visit.site.now()
    event = ConnectionChanged(
        partner_id=visit.partner, correlation_id=f"connection {at.isoformat()}", changed_at=at, disconnected=True
    )
    _send(visit, event)
    return visit.go("/portal/connect", since=at.isoformat())


def _send(visit: Visit, event: ConnectionChanged) -> None:
    visit.site.send([event])
    with visit.site.database.begin() as tx:
        newest_versions.keep_connection(tx, visit.partner, event.changed_at)


def _form(visit: Visit, values: dict[str, str], problems: dict[str, str] | None = None, losing: int = 0) -> Response:
    # A private key that was typed is not sent back.
    given = {name: values.get(name, "") for name in FIELDS} | {"private_key": ""}
    version = _current(visit)
    return visit.page(
        "portal/connect_form.html",
        422 if problems or losing else 200,
        values=given,
        problems=problems or {},
        losing=losing,
        is_connected=version is not None and version.tenant is not None,
        can_seal=visit.site.settings.seal_keys is not None,
    )


def _told(visit: Visit, version: ConnectionVersion | None) -> dict[str, object]:
    with visit.site.database.begin() as tx:
        awaited = _Awaited.by(tx, visit)
        mapped = sum(one.addition is not None for one in mappings.of_partner(tx, visit.partner))
        waits = awaited.waits(tx, version)
        cause = awaited.cause(tx, visit, version) if waits else None
    return {
        "version": version,
        "checked": last_check(version) if version is not None and version.tenant is not None else None,
        "waits": waits,
        "cause": cause,
        "is_stored": awaited.is_stored(version),
        "since": visit.asked("since"),
        "checking": visit.asked("checking"),
        "mapped": mapped,
    }


def _loses(visit: Visit, event: ConnectionChanged) -> int:
    """The number of mapped companies that another ConnectWise makes invalid, unless the user has agreed to that."""
    if visit.field("another") == "yes":
        return 0
    with visit.site.database.begin() as tx:
        before = connections.current(tx, visit.partner)
        mapped = [one for one in mappings.of_partner(tx, visit.partner) if one.addition is not None]
    if before is None or before.tenant in {None, tenant_of(event)}:
        return 0
    return len(mapped)


def _current(visit: Visit) -> ConnectionVersion | None:
    with visit.site.database.begin() as tx:
        return connections.current(tx, visit.partner)


@dataclass(frozen=True)
class _Awaited:
    """The times of what was sent last: the connection, and the request for a check that the address names."""

    since: datetime | None
    checking: datetime | None

    @classmethod
    def by(cls, tx: Tx, visit: Visit) -> Self:
        """Read the store, and the address of the page; a text that is no time is none."""
        sent = newest_versions.read(tx, visit.partner, ()).connection
        return cls(time_of(visit.asked("since")) or sent, time_of(visit.asked("checking")))

    def is_stored(self, version: ConnectionVersion | None) -> bool:
        """True if a worker has stored the connection that was sent."""
        return self.since is None or (version is not None and version.changed_at >= self.since)

    def waits(self, tx: Tx, version: ConnectionVersion | None) -> bool:
        """True if the connection that was sent is not stored or not checked yet, or another check was asked for."""
        if not self.is_stored(version):
            return True
        if version is None:
            return False
        checked = last_check(version) if version.tenant is not None else None
        again = self.checking is not None and checked is not None and checked.time < self.checking
        # A worker whose clock is slow dates its answer before the question.
        is_late = self.checking is not None and now(tx) > self.checking + LATE
        return version.check_due_at is not None or (again and not is_late)

    def cause(self, tx: Tx, visit: Visit, version: ConnectionVersion | None) -> str | None:
        """The reason why it waits; None = not known, and not for long."""
        found = waiting.cause(tx, visit.site.settings, visit.partner)
        if found is not None:
            return found.why
        is_lost = self.since is not None and not self.is_stored(version) and now(tx) > self.since + LATE
        return LOST if is_lost else None


PAGES = (
    Page("GET", "/portal/connect", Right.COORDINATE, show),
    Page("GET", "/portal/connect/part", Right.COORDINATE, part),
    Page("GET", "/portal/connect/events", Right.COORDINATE, events),
    Page("POST", "/portal/connect", Right.COORDINATE, connect),
    Page("POST", "/portal/connect/check", Right.COORDINATE, check),
    Page("POST", "/portal/disconnect", Right.COORDINATE, disconnect),
)
