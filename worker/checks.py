"""Checks of mappings: do they point at records that are there and billed? See doctor.py for connections."""

from dataclasses import dataclass
from datetime import datetime

from messages import MappingChecked, MappingStatus, Problem, plain_text
from store import Tx, mappings, outbox
from store.mappings import Mapping
from worker import plan
from worker.links import linked
from worker.policy import Later, Paused
from worker.problems import problem
from worker.remote import Remote

PASSING = (Later, Paused)
"""Verdicts after which a mapping is checked again."""


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
