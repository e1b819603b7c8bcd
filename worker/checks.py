"""Checks of what a partner has saved: does the connection work, does the mapping point at records that are there?"""

from dataclasses import dataclass
from datetime import datetime

from messages import ConnectionChecked, MappingChecked, MappingStatus, Problem, Right, plain_text
from store import Tx, connections, mappings, outbox
from store.connections import ConnectionVersion
from store.mappings import Mapping
from worker import plan
from worker.links import linked
from worker.policy import Later, Paused, judge
from worker.problems import AGREEMENT_EDIT, CATALOGUE, MISSING, problem
from worker.remote import Remote

PASSING = (Later, Paused)
"""Verdicts after which a mapping is checked again; a connection is not, since somebody waits for the answer."""


@dataclass(frozen=True)
class CheckedConnection:
    """What the check of a connection found; `error` is what ended it, for the run to learn from."""

    version: ConnectionVersion
    message: ConnectionChecked
    error: Exception | None = None

    def save(self, tx: Tx) -> None:
        """Keep it with the version and let the message leave."""
        connections.save_check(tx, self.version, self.message.model_dump(mode="json"))
        outbox.put(tx, self.message)


@dataclass(frozen=True)
class CheckedMapping:
    """What the check of a mapping found; without a message it is to be checked again at `retry_at`."""

    mapping: Mapping
    message: MappingChecked | None
    retry_at: datetime | None = None

    def save(self, tx: Tx) -> None:
        """Keep it and let the message leave, unless another version was saved meanwhile."""
        if self.message is None:
            mappings.check_again(tx, self.mapping, self.retry_at)
        elif mappings.save_check(tx, self.mapping, self.message.model_dump(mode="json")):
            outbox.put(tx, self.message)


def check_connection(remote: Remote) -> CheckedConnection:
    """Find the base URL and prove the rights that can be proven: three GETs (connectwise-api.md 1.2, 4.1).

    Nothing read-only proves the Edit right, so that stays `unproven`. Never raises: an error is a finding.
    """
    version = remote.connection
    found = None
    rights: list[Right] = []
    why: Problem | None = None
    ended_by: Exception | None = None
    try:
        found = remote.look_up()
        for right, granted in remote.check_rights().items():
            rights.append(_right(right, granted=granted))
            if not granted and why is None:
                why = problem(MISSING[right])
        rights.append(Right(right=AGREEMENT_EDIT, state="unproven", fix=CATALOGUE[MISSING[AGREEMENT_EDIT]].fix))
    except Exception as error:  # noqa: BLE001 - whatever it is, the coordinator gets an answer
        why, ended_by = judge(error, attempts=0, chance=0.0).problem, error
    message = ConnectionChecked(
        partner_id=version.partner_id,
        correlation_id=version.message_id,
        causation_id=version.message_id,
        changed_at=version.changed_at,
        status="ok" if why is None else "failed",
        base_url=found.url if found else None,
        company_name=_name(found.company_name if found else None),
        rights=tuple(rights),
        problem=why,
    )
    return CheckedConnection(version, message, ended_by)


def check_mapping(remote: Remote, mapping: Mapping, now: datetime) -> MappingChecked:
    """Read the records that the mapping names, one GET each: the agreement tells its company's name too.

    Raises cwclient's errors; `refused` makes a finding of those that will not pass.
    """
    found: list[Problem] = []
    company = agreement = addition = None
    quantity = None
    if mapping.agreement_id is not None:
        of = remote.agreement(mapping.agreement_id)
        company, agreement = of.company.name, of.name
        if of.company.id is not None and of.company.id != mapping.cw_company_id:
            found.append(problem("agreement_elsewhere"))
        if of.agreement_status not in {None, "Active"}:
            found.append(plan.agreement_problem(str(of.agreement_status)))
    elif mapping.cw_company_id is not None:
        company = remote.company(mapping.cw_company_id).name
    if mapping.addition is not None:
        line = remote.addition(*mapping.addition)
        addition, quantity = line.description or line.product.identifier, line.quantity
        why = plan.not_live(line, agreement_id=mapping.addition[0], now=now)
        if why is not None and why not in found:
            found.append(why)
    status: MappingStatus = "invalid" if found else "complete" if mapping.addition else "incomplete"
    return MappingChecked(
        partner_id=mapping.partner_id,
        correlation_id=mapping.message_id,
        causation_id=mapping.message_id,
        company_id=mapping.company_id,
        changed_at=mapping.changed_at,
        status=status,
        problems=tuple(linked(why, remote.connection, mapping) for why in found),
        cw_company_name=_name(company),
        agreement_name=_name(agreement),
        addition_name=_name(addition),
        quantity=quantity,
    )


def refused(mapping: Mapping, why: Problem) -> CheckedMapping:
    """The mapping cannot be checked, for a reason that will not pass by itself."""
    message = MappingChecked(
        partner_id=mapping.partner_id,
        correlation_id=mapping.message_id,
        causation_id=mapping.message_id,
        company_id=mapping.company_id,
        changed_at=mapping.changed_at,
        status="invalid",
        problems=(why,),
    )
    return CheckedMapping(mapping, message)


def unmapped(mapping: Mapping) -> MappingChecked:
    """Nothing is chosen (yet), so there is nothing to ask ConnectWise."""
    return MappingChecked(
        partner_id=mapping.partner_id,
        correlation_id=mapping.message_id,
        causation_id=mapping.message_id,
        company_id=mapping.company_id,
        changed_at=mapping.changed_at,
        status="incomplete",
    )


def _name(text: str | None) -> str | None:
    return plain_text(text or "", 256) or None


def _right(right: str, *, granted: bool) -> Right:
    return Right(
        right=right, state="granted" if granted else "denied", fix=None if granted else CATALOGUE[MISSING[right]].fix
    )
