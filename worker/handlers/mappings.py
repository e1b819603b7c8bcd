"""Mappings are stored in a new version, or are to be checked again. The partner's run checks them."""

from collections.abc import Collection, Sequence
from datetime import datetime

import structlog

from messages import MappingChanged, MappingChecked, MappingCheckRequested, derived_id
from store import Tx, leases, line_results, mappings, now, outbox, pushes, targets
from worker.handlers.context import Context
from worker.rules.problems import problem

log = structlog.get_logger()


def mappings_changed(context: Context, events: Sequence[MappingChanged]) -> None:
    """Store the mappings that are the newest, have them checked, and have lines that waited for them tried again."""
    by_partner: dict[str, list[MappingChanged]] = {}
    for event in events:
        by_partner.setdefault(event.partner_id, []).append(event)
    for partner_id, changes in by_partner.items():
        with context.database.partner(partner_id) as tx:
            at = now(tx)
            companies = {event.company_id for event in changes}
            # Companies that share an addition are summed, so those who share the old or the new one are due as well.
            before = mappings.sharing_additions(tx, partner_id, companies)
            newest = {event.id for event in changes if mappings.save(tx, mappings.of_event(event, check_due_at=at))}
            others = (before | mappings.sharing_additions(tx, partner_id, companies)) - companies
            mappings.check_now(tx, partner_id, at, others)
            retry_waiting_lines(tx, partner_id, companies | others)
        for event in changes:
            named = {"partner": partner_id, "correlation_id": event.correlation_id, "company": event.company_id}
            log.info("mapping.changed", **named, newest=event.id in newest)


def mapping_check_requested(context: Context, event: MappingCheckRequested) -> int:
    """Have these mappings checked again. A company without a mapping is answered at once.

    Returns the number of these answers.
    """
    with context.database.partner(event.partner_id) as tx:
        at, company_ids = now(tx), event.company_ids or ()
        mappings.check_now(tx, event.partner_id, at, event.company_ids, event.correlation_id)
        stored = mappings.of_companies(tx, event.partner_id, company_ids)
        unmapped = [
            company_id
            for company_id in company_ids
            if company_id not in stored or stored[company_id].cw_company_id is None
        ]
        rows = [outbox.row_of(_not_mapped(event, company_id, at)) for company_id in unmapped]
        line_results.send(tx, event.partner_id, rows, at)
        leases.wake(tx, event.partner_id)
    log.info("mapping.check_requested", requested_by=event.requested_by)
    return len(unmapped)


def retry_waiting_lines(tx: Tx, partner_id: str, company_ids: Collection[str] | None = None) -> None:
    """Make open lines of these companies due now, and the partner's previews; None = of all companies."""
    at = now(tx)
    targets.make_due(tx, partner_id, at, company_ids)
    pushes.make_previews_due(tx, partner_id, at)
    leases.wake(tx, partner_id)


def _not_mapped(event: MappingCheckRequested, company_id: str, at: datetime) -> MappingChecked:
    return MappingChecked(
        id=derived_id(event.requested_at, "mapping.not_mapped", event.partner_id, company_id, str(event.id)),
        partner_id=event.partner_id,
        correlation_id=event.correlation_id,
        causation_id=str(event.id),
        traceparent=event.traceparent,
        company_id=company_id,
        changed_at=min(event.requested_at, at),
        status="incomplete",
        warnings=(problem("unmapped"),),
    )
