"""Messages that are none of the contract: kept as dead letters, and answered as far as they can be addressed.

A cancellation is not: its answer would be taken for the end of the push that it names.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

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
from worker.messaging.broker import Delivery
from worker.messaging.dead_letters import DeadLetters
from worker.rules.problems import problem

Refusal = tuple[Delivery, ContractError]

EPOCH = datetime.fromtimestamp(0, UTC)


def refuse(tx: Tx, letters: DeadLetters, refused: Sequence[Refusal]) -> list[DeadLetter]:
    """Keep these, and tell those who sent them, as far as they can be addressed."""
    made = [
        letters.of(delivery, "contract", str(error), partner_id=error.partner_id, error_type=error.reason)
        for delivery, error in refused
    ]
    dead_letters.add(tx, *made)
    for delivery, error in refused:
        if error.partner_id is not None and error.type is not None:
            for answer in _answers(tx, error.partner_id, delivery, error):
                if isinstance(answer, CatalogListed) and "reply_to" in error.named:
                    outbox.put_reply(tx, answer, error.named["reply_to"])
                else:
                    outbox.put(tx, answer)
    return made


def _answers(tx: Tx, partner_id: str, delivery: Delivery, error: ContractError) -> Iterator[Message]:
    """The answers that this kind of message is awaited by; each has the same id however often it is refused."""
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
            at = _version(tx, error)
            yield ConnectionChecked(**envelope("connection.refused"), changed_at=at, status="failed", problem=why)
        case "mapping.changed.v1" if "company_id" in named:
            yield _mapping(envelope("mapping.refused"), named["company_id"], _version(tx, error), why)
        case "connection.check_requested.v1":
            yield _connection_as_it_is(tx, envelope("connection.refused"), _version(tx, error), why)
        case "mapping.check_requested.v1":
            stored = mappings.of_companies(tx, partner_id, named.get("company_ids", ()))
            for company_id in named.get("company_ids", ()):
                asked = envelope("mapping.refused", company_id)
                yield _mapping_as_it_is(asked, stored.get(company_id), company_id, _version(tx, error), why)
        case "catalog.requested.v1" if "kind" in named:
            yield CatalogListed(**envelope("catalog.refused"), kind=named["kind"], problem=why)


def _connection_as_it_is(tx: Tx, envelope: dict[str, Any], at: datetime, why: Problem) -> ConnectionChecked:
    """Tell what the last check found, as a bad question changes nothing of that, and warn of the question."""
    version = connections.current(tx, envelope["partner_id"])
    known = last_check(version) if version is not None else None
    if known is not None:
        return known.model_copy(update={**envelope, "time": now(tx), "warnings": (*known.warnings, why)})
    return ConnectionChecked(**envelope, changed_at=version.changed_at if version else at, status="failed", problem=why)


def _mapping_as_it_is(
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


def _version(tx: Tx, error: ContractError) -> datetime:
    """The time of the change, or of the question; now if that cannot be read, or is to come."""
    at, ours = error.named.get("changed_at", error.named.get("requested_at")), now(tx)
    return min(at, ours) if at is not None else ours
