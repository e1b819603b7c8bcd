"""Checks of mappings: do they point at records that are there and billed? See doctor.py for connections."""

import json
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from cwclient import Addition as ActualAddition
from cwclient import Agreement, ConnectWiseError, RecordNotFound
from messages import AgreementTerm, MappingChecked, MappingStatus, Problem, Successor, plain_text
from store import Tx, connections, mappings, outbox, targets
from store.connections import ConnectionVersion
from store.mappings import Addition, Mapping
from worker.catalog.choices import of_addition, of_agreement
from worker.catalog.suggestions import looked_into, propose
from worker.connectwise.session import ConnectWiseSession
from worker.rules import billable, quantities
from worker.rules.errors import RestrictedAgreement, RightRefused, Unconfirmed
from worker.rules.links import with_link
from worker.rules.problems import MISSING_RIGHT, problem

log = structlog.get_logger()

CHECKS = 20
"""Mappings checked before looking again: a push that has come meanwhile goes first."""

NOT_READ = (ConnectWiseError, Unconfirmed, RestrictedAgreement, RightRefused)
"""The errors of a read that a check can do without."""

NAMES = ("cw_company_name", "agreement_name", "addition_name", "product", "product_id")
"""The findings that stay known of a mapping although its records cannot be read any more."""


@dataclass(frozen=True)
class CheckedMapping:
    """The result of a mapping's check; without a message it is to be checked again at `retry_at`."""

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
    """A mapping that is to be checked, and what the store knows of it.

    `taken`: the additions that the partner's companies are mapped to. `elsewhere`: it was made under another
    ConnectWise, so its ids mean nothing in this one.
    """

    mapping: Mapping
    known: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    taken: frozenset[Addition] = frozenset()
    elsewhere: bool = False


def due(tx: Tx, partner_id: str, connection: ConnectionVersion | None, now: datetime) -> list[ToCheck]:
    """Mappings that are to be checked, at most CHECKS."""
    found = mappings.due_checks(tx, partner_id, now, CHECKS)
    if not found or connection is None or connection.tenant is None:
        return [ToCheck(mapping) for mapping in found]
    return with_stored_facts(tx, connection, found)


def with_stored_facts(tx: Tx, connection: ConnectionVersion, found: Sequence[Mapping]) -> list[ToCheck]:
    """These mappings with what the store knows of them, in the same order."""
    partner_id, tenant = connection.partner_id, connection.tenant or ""
    tenants = connections.tenant_history(tx, partner_id)
    held = targets.last_held(tx, partner_id, tenant, {mapping.company_id for mapping in found})
    additions = {mapping.addition for mapping in found if mapping.addition} | {
        addition for addition, _ in held.values()
    }
    mapped: dict[Addition | None, list[Mapping]] = {}
    for one in mappings.of_additions(tx, partner_id, additions):
        if connections.tenant_at(tenants, one.changed_at) == tenant:
            mapped.setdefault(one.addition, []).append(one)
    every = mappings.mapped_additions(tx, partner_id) if found else ()
    taken = frozenset(addition for addition, at in every if connections.tenant_at(tenants, at) == tenant)
    return [
        _to_check(mapping, mapped, held.get(mapping.company_id), taken)
        if mapping.cw_company_id is None or connections.tenant_at(tenants, mapping.changed_at) == tenant
        else ToCheck(mapping, elsewhere=True)
        for mapping in found
    ]


def companies_to_recheck(tx: Tx, connection: ConnectionVersion) -> set[str]:
    """Companies whose mapping was found invalid, or was made under another ConnectWise than this."""
    tenants = connections.tenant_history(tx, connection.partner_id)
    return {
        mapping.company_id
        for mapping in mappings.of_partner(tx, connection.partner_id)
        if (mapping.check or {}).get("status") == "invalid"
        or connections.tenant_at(tenants, mapping.changed_at) != connection.tenant
    }


def _to_check(
    mapping: Mapping,
    mapped: Map[Addition | None, Sequence[Mapping]],
    held: tuple[Addition, str] | None,
    taken: frozenset[Addition],
) -> ToCheck:
    sharing = mapped.get(mapping.addition, ()) if mapping.addition else ()
    shared = quantities.shared_quantity(sharing, {one.company_id: 0 for one in sharing}) if len(sharing) > 1 else 0
    known = (shared.problem,) if isinstance(shared, quantities.Answer) else ()
    if held is None or held[0] == mapping.addition or mapped.get(held[0]):
        return ToCheck(mapping, known, taken=taken)
    warning = problem("old_addition_holds", addition=held[0][1], period=held[1])
    return ToCheck(mapping, known, (warning,), taken)


def last_check(mapping: Mapping) -> MappingChecked | None:
    """Return the result of this version's last check; None as long as it has not been checked."""
    if mapping.check is None:
        return None
    return MappingChecked.model_validate_json(json.dumps(mapping.check), extra="ignore")


def check_mapping(
    remote: ConnectWiseSession,
    to_check: ToCheck,
    now: datetime,
    turn: Callable[[], None],
    addition: ActualAddition | None = None,
) -> MappingChecked:
    """Read the records that the mapping names, one GET each; not the `addition`, if that was just read.

    One that has gone bad costs some more, in which its successor is looked for; `turn` is called before each page of
    a list but the first. Raises cwclient's errors; `refused` makes a finding of those that will not pass.
    """
    try:
        return _compare(remote, to_check, now, turn, addition)
    except RightRefused as error:
        if to_check.mapping.agreement_id is not None:
            raise
        # Only the company was read: lines do without this right.
        return _message(to_check.mapping, "invalid", problems=(problem(MISSING_RIGHT[error.right], said=error.said),))


def _compare(
    remote: ConnectWiseSession,
    to_check: ToCheck,
    now: datetime,
    turn: Callable[[], None],
    addition: ActualAddition | None,
) -> MappingChecked:
    mapping, found, today = to_check.mapping, list(to_check.known), now.date()
    agreement: Agreement | None = None
    term: AgreementTerm | None = None
    company: str | None = None
    deleted: tuple[Problem, ...] = ()
    try:
        if mapping.agreement_id is not None:
            agreement = remote.agreement(mapping.agreement_id)
            term = billable.term_of(agreement)
            if billable.belongs_elsewhere(agreement, mapping):
                found.append(problem("agreement_elsewhere"))
            found += billable.assess_agreement(term, billable.single_day(today), today).problems
        company, deleted = _company(remote, mapping)
        found += deleted
        if mapping.addition is not None and addition is None:
            addition = remote.addition(*mapping.addition)
    except RecordNotFound as error:
        found.append(problem("record_not_found", said=error.said))
    product, product_id = ((mapping.check or {}).get(name) for name in ("product", "product_id"))
    if addition is not None and mapping.addition is not None:
        known = billable.MappingFacts(
            mapping.addition[0],
            agreement=term or billable.UNKNOWN_TERM,
            product=product,
            product_id=product_id,
            allows_not_billable=mapping.allow_not_billable,
        )
        judged = billable.assess(addition, [known], billable.single_day(today), today)
        found += [why for why in judged.problems if why not in found]
        if not billable.is_another_product(addition, product, product_id):
            product, product_id = billable.product_of(addition)
    gone_bad = any(why not in to_check.known for why in found) and mapping.addition is not None and not deleted
    status: MappingStatus = "invalid" if found else "complete" if mapping.addition else "incomplete"
    return _message(
        mapping,
        status,
        problems=tuple(with_link(why, remote.connection, mapping) for why in found),
        cw_company_name=_name(company or (agreement.company.name if agreement else None)),
        agreement_name=_name(agreement.name if agreement else None),
        addition_name=_name(addition.description or addition.product.identifier if addition else None),
        product=product,
        product_id=product_id,
        quantity=addition.quantity if addition else None,
        agreement=term,
        time=now,
        warnings=to_check.warnings,
        successor=_successor(remote, to_check, product, now, turn) if gone_bad else None,
    )


def _company(remote: ConnectWiseSession, mapping: Mapping) -> tuple[str | None, tuple[Problem, ...]]:
    """The company's name, and what is wrong with it. A mapping with an agreement does without, so nothing stops it."""
    try:
        company = remote.company(mapping.cw_company_id or 0)
    except RecordNotFound as error:
        return None, (problem("company_deleted", said=error.said),)
    except NOT_READ as error:
        if mapping.agreement_id is None:
            raise
        log.info("company.not_read", company=mapping.company_id, error_type=type(error).__name__)
        earlier = last_check(mapping)
        return None, tuple(why for why in (earlier.problems if earlier else ()) if why.code == "company_deleted")
    # A deleted one stays readable (connectwise-api.md 5.4).
    return company.name, (problem("company_deleted"),) if company.deleted_flag else ()


def _successor(
    remote: ConnectWiseSession, to_check: ToCheck, product: str | None, now: datetime, turn: Callable[[], None]
) -> Successor | None:
    """The one live addition of an active agreement of the company that has the product, or looks like Phin's.

    None that a company is mapped to already.
    """
    mapping = to_check.mapping
    company_id = mapping.cw_company_id
    if company_id is None or mapping.addition is None:
        return None
    try:
        agreements = looked_into(of_agreement(one, now) for one in remote.agreements([company_id], turn))
        additions = {
            one.id: [of_addition(addition, one.id, now) for addition in remote.additions(one.id, turn)]
            for one in agreements
        }
    except NOT_READ as error:
        # What was found counts all the same; this is only a help.
        log.info("successor.not_found", company=mapping.company_id, error_type=type(error).__name__)
        return None
    alike = {key: [one for one in some if one.product == product] for key, some in additions.items()}
    for offered in (alike, additions):
        agreement, addition = propose(agreements, offered, to_check.taken | {mapping.addition})
        if agreement is not None and addition is not None:
            return Successor(
                agreement_id=agreement.id,
                agreement_name=agreement.name,
                addition_id=addition.id,
                addition_name=addition.name,
                quantity=addition.quantity,
            )
    return None


def check_later(mapping: Mapping, at: datetime, *, counts: bool) -> CheckedMapping:
    """The mapping is to be checked again then; `counts`: this attempt failed, so that the next one waits longer."""
    return CheckedMapping(replace(mapping, check_attempts=mapping.check_attempts + counts), None, at)


def failed_check(mapping: Mapping, why: Problem) -> CheckedMapping:
    """The mapping cannot be checked, for a reason that will not pass by itself."""
    return CheckedMapping(mapping, _message(mapping, "invalid", problems=(why,)))


def check_offline(to_check: ToCheck) -> CheckedMapping | None:
    """Return the check that needs no ConnectWise: nothing is chosen (yet), or it was chosen in another one."""
    mapping = to_check.mapping
    if mapping.cw_company_id is None:
        return CheckedMapping(mapping, _message(mapping, "incomplete", warnings=to_check.warnings))
    return failed_check(mapping, problem("map_again")) if to_check.elsewhere else None


def not_connected(to_check: ToCheck) -> CheckedMapping:
    """There is no ConnectWise to ask."""
    return check_offline(to_check) or failed_check(to_check.mapping, problem("not_connected"))


def _message(mapping: Mapping, status: MappingStatus, **found: Any) -> MappingChecked:  # noqa: ANN401 - its fields
    """Return the result of this mapping's check; names that it could not read are those that an earlier one read."""
    kept: dict[str, Any] = {name: (mapping.check or {}).get(name) for name in NAMES}
    return MappingChecked(
        partner_id=mapping.partner_id,
        correlation_id=mapping.correlation,
        causation_id=mapping.message_id,
        company_id=mapping.company_id,
        changed_at=mapping.changed_at,
        status=status,
        **kept | {name: value for name, value in found.items() if value is not None},
    )


def _name(text: str | None) -> str | None:
    return plain_text(text or "", 256) or None
