"""The check of a connection: it works, or a field of the form or a row of the security role is to be changed.

Nothing read-only proves the Edit right (connectwise-api.md 4.1): it is `unproven` until ConnectWise takes or refuses
the first write under this connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from cwclient import ConnectWiseError, QuestionRefused, RecordNotFound
from cwclient.client import MAX_IDS
from messages import ConnectionChecked, ConnectionCheckRequested, Problem, Right, RightState, plain_text
from store import Tx, connections, mappings, now, outbox
from store.connections import ConnectionVersion, tenant_at
from worker.checks import mapping_check
from worker.connectwise.session import ConnectWiseSession
from worker.rules.outcomes import classify
from worker.rules.problems import AGREEMENT_EDIT, AGREEMENT_INQUIRE, CATALOGUE, COMPANY_INQUIRE, MISSING_RIGHT, problem

# The problems of a check that pass by themselves: a write that is taken shows that they have.
AWAY = frozenset({"moved", "rate_limited", "unreachable"})

# So many hidden agreements are named in a warning.
NAMED = 20

log = structlog.get_logger()


@dataclass(frozen=True)
class CheckedConnection:
    """The result of a connection's check; `error`: the one that ended it, for the circuit breaker."""

    version: ConnectionVersion
    message: ConnectionChecked
    error: Exception | None = None

    def save(self, tx: Tx) -> None:
        """Store it with the version and send the message. An Edit right that writes have proven stays as it was.

        Invalid mappings are checked again, now that ConnectWise can be asked.
        """
        stored = connections.current(tx, self.version.partner_id)
        message = self.message
        if stored is not None and stored.version == self.version.version:
            message = _with_edit(message, _edit_state(last_check(stored)))
            if self.error is None and (companies := mapping_check.companies_to_recheck(tx, stored)):
                # The cause may have been the connection, or that another ConnectWise was connected.
                mappings.check_now(tx, stored.partner_id, now(tx), companies)
        connections.save_check(tx, self.version, message.model_dump(mode="json"))
        outbox.put(tx, message)


def last_check(version: ConnectionVersion) -> ConnectionChecked | None:
    """Return the result of a version's check; None as long as it has not been checked."""
    text = version.check_json
    return None if text is None else ConnectionChecked.model_validate_json(text, extra="ignore")


def mapped_agreements(tx: Tx, version: ConnectionVersion) -> dict[int, str]:
    """Return the first 150 agreements, id → name, that checks of mappings have seen in this ConnectWise."""
    history = connections.tenant_history(tx, version.partner_id)
    names: dict[int, str] = {}
    for mapping in mappings.of_partner(tx, version.partner_id):
        name = (mapping.check or {}).get("agreement_name")
        same = tenant_at(history, mapping.changed_at) == version.tenant
        if mapping.agreement_id is not None and name and same and len(names) < MAX_IDS:
            names[mapping.agreement_id] = name
    return names


def check_connection(session: ConnectWiseSession, agreements: Mapping[int, str]) -> CheckedConnection:
    """Find the base URL, prove the Inquire rights, find mapped agreements that are hidden: four GETs.

    Never raises: an error is a finding (connectwise-api.md 1.2, 2.3, 4.1).
    """
    version = session.connection
    found = None
    rights: tuple[Right, ...] = ()
    warnings: tuple[Problem, ...] = ()
    failure: Problem | None = None
    ended_by: Exception | None = None
    try:
        found = session.find_base_url()
        counts = session.counts()
        rights = tuple(_right(right, "denied" if count is None else "granted") for right, count in counts.items())
        rights += (_right(AGREEMENT_EDIT, "unproven"),)
        failure = _of_counts(counts)
        if failure is None:
            warnings = _hidden(session, agreements)
    except (RecordNotFound, QuestionRefused) as error:
        # No record was asked for. Wrong keys may be a 404 where the base URL is a router (connectwise-api.md 1.3).
        failure, ended_by = problem("api_refused", reason=f"HTTP {error.status}", said=error.said), error
    except Exception as error:  # noqa: BLE001 - whatever it is, the coordinator gets an answer
        failure, ended_by = classify(error, attempts=0, chance=0.0).problem, error
    message = ConnectionChecked(
        partner_id=version.partner_id,
        correlation_id=version.correlation,
        causation_id=version.message_id,
        changed_at=version.changed_at,
        status="ok" if failure is None else "failed",
        base_url=found.url if found else None,
        company_name=(plain_text(found.company_name, 256) or None) if found else None,
        rights=rights,
        problem=failure,
        warnings=warnings,
    )
    return CheckedConnection(version, message, ended_by)


def not_checkable(
    event: ConnectionCheckRequested, version: ConnectionVersion | None, why: Literal["not_connected", "paused"]
) -> ConnectionChecked:
    """Return the answer if nothing can be checked now; of a partner that never connected, as of the request."""
    return ConnectionChecked(
        partner_id=event.partner_id,
        correlation_id=event.correlation_id,
        causation_id=str(event.id),
        changed_at=version.changed_at if version else event.requested_at,
        status="failed",
        problem=problem(why),
    )


def shown_edit_right(version: ConnectionVersion) -> RightState | None:
    """Return the state of the Edit right that the version's check shows: to record the same again changes nothing.

    None = it does, as the check is missing, or failed because ConnectWise was away.
    """
    known = last_check(version)
    is_away = known is not None and known.problem is not None and known.problem.code in AWAY
    return None if known is None or is_away else _edit_state(known)


def record_edit_right(tx: Tx, version: ConnectionVersion, state: RightState) -> bool:
    """Store the state of the Edit right with the version's check, and send the check anew if the state is new.

    A check that failed because ConnectWise was away is made again once a write is taken. Returns False if the version
    has not been checked yet. Call it as the partner's owner.
    """
    stored = connections.current(tx, version.partner_id)
    if stored is None or stored.version != version.version:
        return True
    known = last_check(stored)
    if known is None:
        return False
    if state == "granted" and known.problem is not None and known.problem.code in AWAY:
        connections.check_again(tx, stored, now(tx), stored.correlation)
    if _edit_state(known) != state:
        fields = dict(_with_edit(known, state))
        del fields["id"], fields["time"]
        message = ConnectionChecked(**fields)
        connections.revise_check(tx, stored, message.model_dump(mode="json"))
        outbox.put(tx, message)
    return True


def _of_counts(counts: Mapping[str, int | None]) -> Problem | None:
    """Return the problem that the numbers of visible companies and agreements show; None = there is none."""
    missing = [right for right, count in counts.items() if count is None]
    if len(missing) > 1:
        return problem("missing_both_inquire")
    if missing:
        return problem(MISSING_RIGHT[missing[0]])
    if counts[COMPANY_INQUIRE] == 0:
        return problem("no_companies")
    return problem("no_agreements") if counts[AGREEMENT_INQUIRE] == 0 else None


def _hidden(session: ConnectWiseSession, agreements: Mapping[int, str]) -> tuple[Problem, ...]:
    """Return a warning if mapped agreements are hidden: a role limited to some types gets short lists, no error."""
    if not agreements:
        return ()
    try:
        visible = session.visible_agreements(agreements)
    except ConnectWiseError as error:
        # The rights are proven, and this is only a hint.
        log.warning("agreements.not_compared", partner=session.connection.partner_id, error=str(error))
        return ()
    names = [f"{name} (#{number})" for number, name in agreements.items() if number not in visible]
    if not names:
        return ()
    more = [f"{len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return (problem("hidden_agreements", agreements=names[:NAMED] + more),)


def _right(right: str, state: RightState) -> Right:
    return Right(right=right, state=state, fix=None if state == "granted" else CATALOGUE[MISSING_RIGHT[right]].fix)


def _edit_state(checked: ConnectionChecked | None) -> RightState:
    states = [right.state for right in checked.rights if right.right == AGREEMENT_EDIT] if checked else []
    return states[0] if states else "unproven"


def _with_edit(checked: ConnectionChecked, state: RightState) -> ConnectionChecked:
    """Return the check with this state of the Edit right. A denied one is its problem unless there is another."""
    others = tuple(right for right in checked.rights if right.right != AGREEMENT_EDIT)
    rights = (*others, _right(AGREEMENT_EDIT, state)) if others or state != "unproven" else ()
    failure = checked.problem
    if failure is not None and failure.code == MISSING_RIGHT[AGREEMENT_EDIT]:
        failure = None
    if failure is None and state == "denied":
        failure = problem("missing_agreement_edit")
    return checked.model_copy(update={"rights": rights, "problem": failure, "status": "failed" if failure else "ok"})
