"""The effect of each kind of message on the store: one function a kind, one transaction each, in milliseconds.

Handlers are idempotent by natural key: a message that comes again changes nothing and answers the same.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from cwclient import InvalidSite, parse_site
from messages import (
    FINAL,
    CatalogRequested,
    ConnectionChanged,
    ConnectionCheckRequested,
    MappingChanged,
    MappingCheckRequested,
    Message,
    PushCancelRequested,
    PushRequested,
    RevertRequested,
    SyncResult,
)
from store import (
    Database,
    Tx,
    cancellations,
    company_status,
    connections,
    leases,
    line_results,
    mappings,
    now,
    outbox,
    pauses,
    pushes,
    reopening,
    replays,
    targets,
)
from store.connections import ConnectionVersion
from store.pushes import Acceptance
from store.replays import Noted, Replay
from worker.catalog import questions
from worker.checks import connection_check
from worker.connectwise.circuit_breaker import half_open
from worker.handlers.cancellation import cancel
from worker.handlers.reverts import revert
from worker.sync.completion import completed
from worker.sync.results import superseded

log = structlog.get_logger()

ENVELOPE = {"id", "time", "source", "correlation_id", "causation_id", "traceparent"}


class Refused(Exception):
    """The message can be read but not be accepted: it becomes a dead letter of this reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Context:
    """The objects that handlers work with."""

    database: Database


def connection_changed(context: Context, event: ConnectionChanged) -> None:
    """Keep the version and have it checked; lines that waited for it are looked at again."""
    with context.database.partner(event.partner_id) as tx:
        at = now(tx)
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
            check_due_at=None if event.disconnected else at,
            correlation_id=event.correlation_id,
        )
        newest = connections.save(tx, version)
        if newest:
            leases.save_health(tx, event.partner_id, leases.Health())
            questions.drop_lists(tx, event.partner_id)
        _arrived(tx, event.partner_id)
    log.info("connection.changed", newest=newest, disconnected=event.disconnected)


def connection_check_requested(context: Context, event: ConnectionCheckRequested) -> None:
    """Have the connection checked again, also if it could not be reached lately; without one the answer is at hand."""
    with context.database.partner(event.partner_id) as tx:
        version = connections.current(tx, event.partner_id)
        if version is None or version.tenant is None:
            outbox.put(tx, connection_check.not_checkable(event, version, "not_connected"))
        else:
            if pauses.find(tx, event.partner_id) is not None:
                # It is made once an operator has ended the pause; until then somebody waits.
                outbox.put(tx, connection_check.not_checkable(event, version, "paused"))
            connections.check_again(tx, version, now(tx), event.correlation_id)
            leases.save_health(tx, event.partner_id, half_open(leases.health(tx, event.partner_id)))
            leases.wake(tx, event.partner_id)
    log.info("connection.check_requested", requested_by=event.requested_by)


def mappings_changed(context: Context, events: Sequence[MappingChanged]) -> None:
    """Keep the mappings that are the newest and have them checked; lines that waited for them are looked at again."""
    by_partner: dict[str, list[MappingChanged]] = {}
    for event in events:
        by_partner.setdefault(event.partner_id, []).append(event)
    for partner_id, its_events in by_partner.items():
        with context.database.partner(partner_id) as tx:
            at = now(tx)
            companies = {event.company_id for event in its_events}
            # A sum waits for all of its members: also those who share the old or the new addition look again.
            before = mappings.sharing_additions(tx, partner_id, companies)
            newest = {event.id for event in its_events if mappings.save(tx, _mapping(event, at))}
            others = (before | mappings.sharing_additions(tx, partner_id, companies)) - companies
            mappings.check_now(tx, partner_id, at, others)
            _arrived(tx, partner_id, companies | others)
        for event in its_events:
            named = {"partner": partner_id, "correlation_id": event.correlation_id, "company": event.company_id}
            log.info("mapping.changed", **named, newest=event.id in newest)


def mapping_check_requested(context: Context, event: MappingCheckRequested) -> None:
    """Have these mappings compared with ConnectWise again."""
    with context.database.partner(event.partner_id) as tx:
        mappings.check_now(tx, event.partner_id, now(tx), event.company_ids, event.correlation_id)
        leases.wake(tx, event.partner_id)
    log.info("mapping.check_requested", requested_by=event.requested_by)


def push_requested(context: Context, event: PushRequested, replay: Replay | None = None) -> int:
    """Accept the push: its lines, and the wishes that are newer than the stored ones. The run does the work.

    A repeat of a push sends the answers that are recorded again; returns how many. A replay of its failed lines asks
    these again. Raises Refused if the push id is taken.
    """
    with context.database.partner(event.partner_id) as tx:
        if replay is not None and _asked_again(tx, event, replay):
            return 0
        accepted = pushes.accept(tx, event, _fingerprint(event), now(tx))
        if accepted.acceptance is Acceptance.CONFLICT:
            raise Refused("conflict", f"a push {event.push_id} with other content was accepted before")
        said = (
            line_results.republish(tx, event.partner_id, event.push_id)
            if accepted.acceptance is Acceptance.REPEAT
            else 0
        )
        lines = pushes.lines(tx, event.partner_id, accepted.superseded)
        line_results.record(tx, (superseded(line) for line in lines.values() if line.is_open))
        if cancellations.of_pushes(tx, event.partner_id, [event.push_id]):
            cancel(tx, event.partner_id, event.push_id)
        leases.wake(tx, event.partner_id)
    log.info("push.accepted", push=event.push_id, lines=len(event.lines), acceptance=accepted.acceptance.value)
    return said


def revert_requested(context: Context, event: RevertRequested, replay: Replay | None = None) -> int:
    """Accept the revert of a push: lines and wishes like a push's, restored in the partner's run.

    A repeat sends the recorded answers again; returns how many. Raises Refused if the revert's id is taken.
    """
    with context.database.partner(event.partner_id) as tx:
        if replay is not None and _asked_again(tx, event, replay):
            return 0
        acceptance = revert(tx, event, _fingerprint(event), now(tx))
        if acceptance is Acceptance.CONFLICT:
            raise Refused("conflict", f"a push or revert {event.revert_id} with other content was accepted before")
        said = line_results.republish(tx, event.partner_id, event.revert_id) if acceptance is Acceptance.REPEAT else 0
        if cancellations.of_pushes(tx, event.partner_id, [event.revert_id]):
            cancel(tx, event.partner_id, event.revert_id)
        leases.wake(tx, event.partner_id)
    named = acceptance.value if acceptance else "refused"
    log.info("revert.accepted", push=event.revert_id, reverts=event.push_id, acceptance=named)
    return said


def push_cancel_requested(context: Context, event: PushCancelRequested) -> None:
    """Stop a push; one that has not arrived yet is stopped when it does."""
    with context.database.partner(event.partner_id) as tx:
        cancellations.add(tx, event)
        cancelled = cancel(tx, event.partner_id, event.push_id)
    log.info("push.cancelled", push=event.push_id, lines=cancelled, requested_by=event.requested_by)


def catalog_requested(context: Context, event: CatalogRequested) -> None:
    """Answer from what was read some minutes ago; else the question is kept, and answered in the partner's run."""
    with context.database.partner(event.partner_id) as tx:
        answered = questions.answer_or_queue(tx, event)
    log.info("catalog.asked", kind=event.kind, page=event.page, answered=answered)


def _asked_again(tx: Tx, event: PushRequested | RevertRequested, replay: Replay) -> bool:
    """Begin a new round of the push that is replayed; False = it is a push like any other."""
    match replays.note(tx, replay):
        case Noted.UNKNOWN:
            return False
        case Noted.BEFORE:
            return True
    if isinstance(event, RevertRequested):
        begun, push_id = reopening.reopen_revert(tx, event, now(tx)), event.revert_id
    else:
        begun, push_id = reopening.reopen_push(tx, event, now(tx)), event.push_id
    if begun is None:
        return False
    lines = pushes.lines(tx, event.partner_id, begun.overtaken)
    line_results.record(tx, (superseded(line) for line in lines.values()))
    leases.wake(tx, event.partner_id)
    log.info("push.replayed", push=push_id, lines=len(begun.opened), overtaken=len(begun.overtaken))
    return True


def sync_results(context: Context, results: Sequence[SyncResult]) -> None:
    """Keep Sync Status, and complete each push whose last final result has come back through the queue."""
    final: dict[tuple[str, str], dict[str, str]] = {}
    for result in sorted(results, key=lambda result: result.sequence):
        if result.status in FINAL:
            final.setdefault((result.partner_id, result.push_id), {})[result.company_id] = str(result.id)
    with context.database.begin() as tx:
        company_status.keep_newest(tx, [result for result in results if result.changes_status])
        for (partner_id, push_id), result_ids in sorted(final.items()):
            reported = line_results.mark_reported(tx, partner_id, push_id, result_ids)
            if reported is not None and reported[1]:
                line_results.complete_push(tx, completed(tx, reported[0]))
                log.info("push.completed", partner=partner_id, push=push_id, correlation_id=reported[0].correlation_id)


def _mapping(event: MappingChanged, at: datetime) -> mappings.Mapping:
    return mappings.Mapping(
        partner_id=event.partner_id,
        company_id=event.company_id,
        changed_at=event.changed_at,
        message_id=str(event.id),
        company_name=event.company_name,
        cw_company_id=event.cw_company_id,
        agreement_id=event.agreement_id,
        addition_id=event.addition_id,
        rule=event.rule,
        minimum=event.minimum,
        allow_not_billable=event.allow_not_billable,
        check_due_at=at,
        correlation_id=event.correlation_id,
    )


def _arrived(tx: Tx, partner_id: str, company_ids: Collection[str] | None = None) -> None:
    """Look again at what may have waited for this, and at what is to be checked; None = for the connection."""
    at = now(tx)
    targets.make_due(tx, partner_id, at, company_ids)
    pushes.make_previews_due(tx, partner_id, at)
    leases.wake(tx, partner_id)


def tenant_of(event: ConnectionChanged) -> str:
    """Name the ConnectWise tenant: the same however its URL was written."""
    site_url, company_identifier = event.site_url or "", event.company_identifier or ""
    try:
        site = parse_site(site_url).key
    except InvalidSite:
        site = site_url.strip().lower()
    return f"{site} {company_identifier.strip().lower()}"


def _fingerprint(event: PushRequested | RevertRequested) -> str:
    """Hash what is asked for, not the envelope: a repeat may come in a new one."""
    return hashlib.sha256(event.model_dump_json(exclude=ENVELOPE).encode()).hexdigest()


HANDLERS: Mapping[type[Message], Callable[..., int | None]] = {
    ConnectionChanged: connection_changed,
    ConnectionCheckRequested: connection_check_requested,
    MappingCheckRequested: mapping_check_requested,
    PushRequested: push_requested,
    PushCancelRequested: push_cancel_requested,
    CatalogRequested: catalog_requested,
    RevertRequested: revert_requested,
}
"""The handler of each kind that is handled one message at a time; those in REPLAYED are told of a replay besides.

A number that is returned says how many answers were said at once.
"""

REPLAYED = (PushRequested, RevertRequested)

BATCH_HANDLERS: Mapping[type[Message], Callable[[Context, Sequence[Any]], None]] = {
    MappingChanged: mappings_changed,
    SyncResult: sync_results,
}
"""The handler of each kind that comes in numbers: under load, one transaction for many."""
