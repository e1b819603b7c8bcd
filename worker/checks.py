"""Checks of mappings: do they point at records that are there and billed? See doctor.py for connections."""

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import datetime

import structlog

from cwclient import Addition as ActualAddition
from cwclient import Agreement, ConnectWiseError, RecordNotFound
from messages import MappingChecked, MappingStatus, Problem, Successor, plain_text
from store import Tx, connections, mappings, outbox, wishes
from store.connections import ConnectionVersion
from store.mappings import Addition, Mapping
from worker import plan
from worker.choices import of_addition, of_agreement
from worker.links import linked
from worker.policy import Later, Paused, RestrictedAgreement, RightRefused
from worker.problems import problem
from worker.remote import Remote
from worker.suggesting import looked_into, proposal

log = structlog.get_logger()

CHECKS = 20
"""Mappings checked before looking again: a push that has come meanwhile goes first."""

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


@dataclass(frozen=True)
class ToCheck:
    """A mapping that is to be checked, and what the store knows of it."""

    mapping: Mapping
    known: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def due(tx: Tx, partner_id: str, connection: ConnectionVersion | None, now: datetime) -> list[ToCheck]:
    """Mappings that are to be checked, at most CHECKS."""
    found = mappings.due_checks(tx, partner_id, now, CHECKS)
    if not found or connection is None or connection.tenant is None:
        return [ToCheck(mapping) for mapping in found]
    tenants = connections.tenants(tx, partner_id)
    held = wishes.last_held(tx, partner_id, connection.tenant, {mapping.company_id for mapping in found})
    additions = {mapping.addition for mapping in found if mapping.addition} | {
        addition for addition, _ in held.values()
    }
    mapped: dict[Addition | None, list[Mapping]] = {}
    for one in mappings.of_additions(tx, partner_id, additions):
        if connections.tenant_at(tenants, one.changed_at) == connection.tenant:
            mapped.setdefault(one.addition, []).append(one)
    return [_to_check(mapping, mapped, held.get(mapping.company_id)) for mapping in found]


def _to_check(
    mapping: Mapping, mapped: Map[Addition | None, Sequence[Mapping]], held: tuple[Addition, str] | None
) -> ToCheck:
    sharing = mapped.get(mapping.addition, ()) if mapping.addition else ()
    shared = plan.shared(sharing, {one.company_id: 0 for one in sharing}) if len(sharing) > 1 else 0
    known = (shared.problem,) if isinstance(shared, plan.Answer) else ()
    if held is None or held[0] == mapping.addition or mapped.get(held[0]):
        return ToCheck(mapping, known)
    return ToCheck(mapping, known, (problem("old_addition_holds", addition=held[0][1], period=held[1]),))


def check_mapping(remote: Remote, to_check: ToCheck, now: datetime, turn: Callable[[], None]) -> MappingChecked:
    """Read the records that the mapping names, one GET each: the agreement tells its company's name too.

    One that has gone bad costs some more, in which its successor is looked for; `turn` is called before each page of
    a list but the first. Raises cwclient's errors; `refused` makes a finding of those that will not pass.
    """
    mapping, found = to_check.mapping, list(to_check.known)
    agreement: Agreement | None = None
    addition: ActualAddition | None = None
    company = None
    try:
        if mapping.agreement_id is not None:
            agreement = remote.agreement(mapping.agreement_id)
            company = agreement.company.name
            if agreement.company.id is not None and agreement.company.id != mapping.cw_company_id:
                found.append(problem("agreement_elsewhere"))
            if agreement.agreement_status not in {None, "Active"}:
                found.append(plan.agreement_problem(str(agreement.agreement_status)))
        elif mapping.cw_company_id is not None:
            company = remote.company(mapping.cw_company_id).name
        if mapping.addition is not None:
            addition = remote.addition(*mapping.addition)
    except RecordNotFound as error:
        found.append(problem("record_not_found", said=error.said))
    product = (mapping.check or {}).get("product")
    if addition is not None and mapping.addition is not None:
        why = plan.not_live(addition, agreement_id=mapping.addition[0], now=now)
        if why is not None and why not in found:
            found.append(why)
        now_is = _name(addition.product.identifier)
        if product is not None and now_is != product:
            found.append(problem("product_changed", before=product, now=now_is))
        product = product or now_is
    gone_bad = any(why not in to_check.known for why in found) and mapping.addition is not None
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
        agreement_name=_name(agreement.name if agreement else None),
        addition_name=_name(addition.description or addition.product.identifier if addition else None),
        product=product,
        quantity=addition.quantity if addition else None,
        warnings=to_check.warnings,
        successor=_successor(remote, mapping, product, now, turn) if gone_bad else None,
    )


def _successor(
    remote: Remote, mapping: Mapping, product: str | None, now: datetime, turn: Callable[[], None]
) -> Successor | None:
    """The one live addition of an active agreement of the company that has the product, or looks like Phin's."""
    company_id = mapping.cw_company_id
    if company_id is None or mapping.addition is None:
        return None
    try:
        agreements = looked_into(of_agreement(one, now) for one in remote.agreements([company_id], turn))
        additions = {
            one.id: [of_addition(addition, one.id, now) for addition in remote.additions(one.id, turn)]
            for one in agreements
        }
    except (ConnectWiseError, RestrictedAgreement, RightRefused) as error:
        # What was found counts all the same; this is only a help.
        log.info("successor.not_found", company=mapping.company_id, error_type=type(error).__name__)
        return None
    alike = {key: [one for one in some if one.product == product] for key, some in additions.items()}
    for offered in (alike, additions):
        agreement, addition = proposal(agreements, offered, {mapping.addition})
        if agreement is not None and addition is not None:
            return Successor(
                agreement_id=agreement.id,
                agreement_name=agreement.name,
                addition_id=addition.id,
                addition_name=addition.name,
                quantity=addition.quantity,
            )
    return None


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
        product=(mapping.check or {}).get("product"),
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
