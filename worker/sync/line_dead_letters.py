"""The dead letters of lines: one per push and reason, which holds the request that a replay sends.

Put by `commit`, also for `fail_open_lines`.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from messages import Confirmation, PushLine, PushRequested, RevertRequested, encode
from store import Tx, dead_letters, outbox
from store.dead_letters import DeadLetter
from store.pushes import Line
from worker.rules.outcomes import FailPartner
from worker.rules.problems import one_line
from worker.topology import queue_of


def dead_letter_lines(tx: Tx, lines: Sequence[Line], failure: FailPartner) -> None:
    """Put lines of one push into its dead letter of this reason, beside those that an open one has already."""
    push = lines[0].push
    letter_id, kept = dead_letters.letter_of_lines(tx, push.partner_id, push.push_id, failure.reason)
    request = request_of(lines)
    wire = encode(request if kept is None else _with_lines_of(kept, request))
    dead_letters.add(
        tx,
        DeadLetter(
            id=letter_id,
            queue=queue_of(wire.routing_key),
            body=wire.body,
            properties=outbox.properties_of(wire),
            reason=failure.reason,
            error=one_line(failure.problem),
            error_type=failure.problem.code,
            partner_id=push.partner_id,
            message_id=wire.properties.message_id,
            kind=wire.routing_key,
        ),
    )


def _with_lines_of(body: bytes, request: PushRequested | RevertRequested) -> PushRequested | RevertRequested:
    """Return the request with the lines that a kept one of the same push has besides."""
    if isinstance(request, RevertRequested):
        kept_ids = RevertRequested.model_validate_json(body, extra="ignore").company_ids
        companies = dict.fromkeys((*(kept_ids or ()), *(request.company_ids or ())))
        return request.model_copy(update={"company_ids": tuple(companies)})
    kept = PushRequested.model_validate_json(body, extra="ignore")
    new = {line.company_id for line in request.lines}
    lines = [line for line in kept.lines if line.company_id not in new]
    confirmations = [given for given in kept.confirmations if given.company_id not in new]
    return request.model_copy(
        update={"lines": (*lines, *request.lines), "confirmations": (*confirmations, *request.confirmations)}
    )


def request_of(lines: Sequence[Line]) -> PushRequested | RevertRequested:
    """Return a request with exactly these lines, all of one push, for a replay to send."""
    push = lines[0].push
    envelope: dict[str, Any] = {
        "partner_id": push.partner_id,
        "correlation_id": push.correlation_id,
        "causation_id": push.message_id,
        "traceparent": push.traceparent,
        "requested_at": push.requested_at,
        "requested_by": push.requested_by,
    }
    if push.reverts is not None:
        companies = tuple(line.company_id for line in lines)
        return RevertRequested(**envelope, revert_id=push.push_id, push_id=push.reverts, company_ids=companies)
    return PushRequested(
        **envelope,
        push_id=push.push_id,
        period=push.period,
        mode="preview" if push.mode == "preview" else "apply",
        connection_changed_at=push.connection_changed_at,
        confirmations=_confirmations(lines),
        lines=tuple(
            PushLine(
                company_id=line.company_id,
                company_name=line.company_name,
                billable_users=line.billable_users,
                mapping_changed_at=line.mapping_changed_at,
            )
            for line in lines
        ),
    )


def _confirmations(lines: Iterable[Line]) -> tuple[Confirmation, ...]:
    return tuple(
        Confirmation.model_validate_json(json.dumps(line.confirmation))
        for line in lines
        if line.confirmation is not None
    )
