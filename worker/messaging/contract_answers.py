"""Messages that break the contract become dead letters, and are answered if partner and type can be read.

A cancellation is not answered: its answer would be taken for the end of the push that it names.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from messages import (
    CatalogListed,
    ConnectionChecked,
    ContractError,
    MappingChecked,
    Message,
    Problem,
    PushCompleted,
    derived_id,
)
from store import Tx, connections, dead_letters, mappings, now, outbox, pushes
from store.dead_letters import DeadLetter
from store.mappings import Mapping
from worker.checks import mapping_check
from worker.checks.connection_check import last_check
from worker.messaging.broker import Delivery, trace_context
from worker.messaging.dead_letters import DeadLetters
from worker.rules.problems import problem

EPOCH = datetime.fromtimestamp(0, UTC)


class Violation(NamedTuple):
    """A delivery that breaks the contract, and the error that says how."""

    delivery: Delivery
    error: ContractError

    @property
    def traceparent(self) -> str | None:
        """The trace context of the message, as far as it can be read."""
        return self.error.named.get("traceparent") or trace_context(self.delivery.properties)


def reject(tx: Tx, letters: DeadLetters, violations: Sequence[Violation]) -> list[DeadLetter]:
    """Store dead letters of these deliveries, and answer them. Returns the dead letters."""
    stored = [
        letters.of(delivery, "contract", str(error), partner_id=error.partner_id, error_type=error.reason)
        for delivery, error in violations
    ]
    dead_letters.add(tx, *stored)
    for delivery, error in violations:
        if error.partner_id is not None and error.type is not None:
            for answer in _answers(tx, error.partner_id, delivery, error):
                if isinstance(answer, CatalogListed) and "reply_to" in error.named:
                    outbox.put_reply(tx, answer, error.named["reply_to"])
                else:
                    outbox.put(tx, answer)
    return stored


def _answers(tx: Tx, partner_id: str, delivery: Delivery, error: ContractError) -> Iterator[Message]:
    """Make the answers that the sender of this kind waits for; a repeat of the message gives them the same ids."""
    named, why = error.named, problem("contract", reason=error.detail)
    digest = hashlib.sha256(delivery.body).hexdigest()

    def envelope(*parts: str) -> dict[str, Any]:
        answer_id = derived_id(EPOCH, *parts, digest)
        # Not the push's id, which may be too long for AMQP's property.
        return {
            "id": answer_id,
            "partner_id": partner_id,
            "correlation_id": error.correlation_id or str(answer_id),
            "causation_id": str(named["id"]) if "id" in named else None,
            "traceparent": named.get("traceparent"),
        }

    match error.type:
        case "push.requested.v1" | "revert.requested.v1" as kind:
            if error.push_id is not None and pushes.find(tx, partner_id, error.push_id) is None:
                yield PushCompleted(
                    **envelope("push.refused", partner_id, error.push_id),
                    push_id=error.push_id,
                    mode="revert" if kind == "revert.requested.v1" else named.get("mode"),
                    period=named.get("period"),
                    status="refused",
                    problem=why,
                )
        case "connection.changed.v1":
            at = _changed_at(tx, error)
            yield ConnectionChecked(**envelope("connection.refused"), changed_at=at, status="failed", problem=why)
        case "mapping.changed.v1" if "company_id" in named:
            yield _mapping(envelope("mapping.refused"), named["company_id"], _changed_at(tx, error), why)
        case "connection.check_requested.v1":
            yield _last_connection_check(tx, envelope("connection.refused"), _changed_at(tx, error), why)
        case "mapping.check_requested.v1":
            stored = mappings.of_companies(tx, partner_id, named.get("company_ids", ()))
            for company_id in named.get("company_ids", ()):
                asked = envelope("mapping.refused", company_id)
                yield _last_mapping_check(asked, stored.get(company_id), company_id, _changed_at(tx, error), why)
        case "catalog.requested.v1" if "kind" in named:
            yield CatalogListed(**envelope("catalog.refused"), kind=named["kind"], problem=why)


def _last_connection_check(tx: Tx, envelope: dict[str, Any], at: datetime, why: Problem) -> ConnectionChecked:
    """Repeat the last check, which a bad request does not change, with a warning about the request."""
    version = connections.current(tx, envelope["partner_id"])
    known = last_check(version) if version is not None else None
    if known is not None:
        return known.model_copy(update={**envelope, "time": now(tx), "warnings": (*known.warnings, why)})
    return ConnectionChecked(**envelope, changed_at=version.changed_at if version else at, status="failed", problem=why)


def _last_mapping_check(
    envelope: dict[str, Any], mapping: Mapping | None, company_id: str, at: datetime, why: Problem
) -> MappingChecked:
    known = mapping_check.last_check(mapping) if mapping is not None else None
    if known is not None:
        return known.model_copy(update={**envelope, "time": at, "warnings": (*known.warnings, why)})
    changed_at = mapping.changed_at if mapping is not None else at
    return MappingChecked(
        **envelope, company_id=company_id, changed_at=changed_at, status="incomplete", warnings=(why,)
    )


def _mapping(envelope: dict[str, Any], company_id: str, at: datetime, why: Problem) -> MappingChecked:
    return MappingChecked(**envelope, company_id=company_id, changed_at=at, status="invalid", problems=(why,))


def _changed_at(tx: Tx, error: ContractError) -> datetime:
    """Return the time of the change or request, or now if that cannot be read or is in the future."""
    at, ours = error.named.get("changed_at", error.named.get("requested_at")), now(tx)
    return min(at, ours) if at is not None else ours
