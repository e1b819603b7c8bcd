"""A connection is stored in a new version, or is to be checked again. The partner's run checks it."""

import structlog

from cwclient import InvalidSite, parse_site
from messages import ConnectionChanged, ConnectionCheckRequested
from store import connections, leases, now, outbox, pauses
from store.connections import ConnectionVersion
from worker.catalog import questions
from worker.checks import connection_check
from worker.connectwise.circuit_breaker import half_open
from worker.handlers.context import Context
from worker.handlers.mappings import retry_waiting_lines

log = structlog.get_logger()


def connection_changed(context: Context, event: ConnectionChanged) -> None:
    """Store the version, have it checked, and have lines that waited for a connection tried again."""
    with context.database.partner(event.partner_id) as tx:
        sealed = event.sealed_private_key
        version = ConnectionVersion(
            partner_id=event.partner_id,
            changed_at=event.changed_at,
            message_id=str(event.id),
            tenant=None if event.disconnected else tenant_of(event),
            site_url=event.site_url,
            company_identifier=event.company_identifier,
            public_key=event.public_key,
            key_id=sealed.key_id if sealed else None,
            box=sealed.box if sealed else None,
            ca_bundle=event.ca_bundle,
            check_due_at=None if event.disconnected else now(tx),
            correlation_id=event.correlation_id,
        )
        newest = connections.save(tx, version)
        if newest:
            leases.save_health(tx, event.partner_id, leases.Health())
            questions.drop_lists(tx, event.partner_id)
        retry_waiting_lines(tx, event.partner_id)
    log.info("connection.changed", newest=newest, disconnected=event.disconnected)


def connection_check_requested(context: Context, event: ConnectionCheckRequested) -> None:
    """Have the connection checked again, even if ConnectWise could not be reached lately.

    Without a connection, or while an operator has paused the partner, the request is answered at once.
    """
    with context.database.partner(event.partner_id) as tx:
        version = connections.current(tx, event.partner_id)
        if version is None or version.tenant is None:
            outbox.put(tx, connection_check.not_checkable(event, version, "not_connected"))
        else:
            if pauses.find(tx, event.partner_id) is not None:
                # The check is made once the pause has ended; until then somebody waits.
                outbox.put(tx, connection_check.not_checkable(event, version, "paused"))
            connections.check_again(tx, version, now(tx), event.correlation_id)
            leases.save_health(tx, event.partner_id, half_open(leases.health(tx, event.partner_id)))
            leases.wake(tx, event.partner_id)
    log.info("connection.check_requested", requested_by=event.requested_by)


def tenant_of(event: ConnectionChanged) -> str:
    """Return the key of a ConnectWise tenant, which is the same however its URL was written."""
    site_url, company_identifier = event.site_url or "", event.company_identifier or ""
    try:
        site = parse_site(site_url).key
    except InvalidSite:
        site = site_url.strip().lower()
    return f"{site} {company_identifier.strip().lower()}"
