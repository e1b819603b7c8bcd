"""The check of a mapping: its company, agreement and addition exist and can be billed."""

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

import structlog

from cwclient import Addition as ActualAddition
from cwclient import Agreement, Company, RecordNotFound
from messages import AgreementTerm, MappingChecked, MappingStatus, Problem, plain_text
from store import Tx, connections, mappings, outbox, targets
from store.connections import ConnectionVersion
from store.mappings import Addition, Mapping
from worker.catalog.name_matching import nothing_in_common
from worker.checks.successors import NOT_READ, likely_successor
from worker.connectwise.session import ConnectWiseSession
from worker.rules import billable, quantities
from worker.rules.billable import MappingFacts, facts_of
from worker.rules.errors import RightRefused
from worker.rules.links import with_link
from worker.rules.problems import MISSING_RIGHT, problem

log = structlog.get_logger()

# Mappings checked before due work is loaded again: a push that has come meanwhile goes first.
BATCH = 20

# The fields of a check that keep their last value when the records cannot be read any more.
NAMES = ("cw_company_name", "agreement_name", "addition_name", "product", "product_id")


@dataclass(frozen=True)
class CheckedMapping:
    """The result of a mapping's check; without a message it is to be checked again at `retry_at`."""

    mapping: Mapping
    message: MappingChecked | None
    retry_at: datetime | None = None

    def save(self, tx: Tx) -> None:
        """Store it and send the message, unless another version was saved meanwhile."""
        if self.message is None:
            mappings.check_again(tx, self.mapping, self.retry_at)
        elif mappings.save_check(tx, self.mapping, self.message.model_dump(mode="json")):
            outbox.put(tx, self.message)


@dataclass(frozen=True)
class ToCheck:
    """A mapping that is to be checked, with the problems and warnings that the store shows.

    `is_foreign`: it was made under another ConnectWise, so its ids mean nothing in this one.
    """

    mapping: Mapping
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    is_foreign: bool = False

    @cached_property
    def facts(self) -> MappingFacts:
        """The facts of the mapping as last checked."""
        return facts_of(self.mapping, last_check(self.mapping))


def due(tx: Tx, partner_id: str, connection: ConnectionVersion | None, now: datetime) -> list[ToCheck]:
    """Return the mappings that are to be checked, at most BATCH."""
    to_check = mappings.due_checks(tx, partner_id, now, BATCH)
    if not to_check or connection is None or connection.tenant is None:
        return [ToCheck(mapping) for mapping in to_check]
    return with_stored_facts(tx, connection, connections.tenant_history(tx, partner_id), to_check)


def with_stored_facts(
    tx: Tx,
    connection: ConnectionVersion,
    tenants: Sequence[tuple[datetime, str | None]],
    to_check: Sequence[Mapping],
    known: Map[Addition, Sequence[Mapping]] = MappingProxyType({}),
) -> list[ToCheck]:
    """Return these mappings with the facts of the store, in the same order.

    `tenants`: those of all versions. `known`: the companies mapped to some additions under the connection's tenant.
    """
    partner_id, tenant = connection.partner_id, connection.tenant or ""
    held = targets.last_held(tx, partner_id, tenant, {mapping.company_id for mapping in to_check})
    additions = {mapping.addition for mapping in to_check if mapping.addition} | {place for place, _ in held.values()}
    mapped: dict[Addition | None, list[Mapping]] = {addition: list(sharing) for addition, sharing in known.items()}
    for mapping in mappings.of_additions(tx, partner_id, additions - known.keys()):
        if connections.tenant_at(tenants, mapping.changed_at) == tenant:
            mapped.setdefault(mapping.addition, []).append(mapping)
    return [
        _to_check(mapping, mapped, held.get(mapping.company_id))
        if mapping.cw_company_id is None or connections.tenant_at(tenants, mapping.changed_at) == tenant
        else ToCheck(mapping, is_foreign=True)
        for mapping in to_check
    ]


def taken_additions(tx: Tx, connection: ConnectionVersion) -> frozenset[Addition]:
    """Return the additions that the partner's companies are mapped to under the connection's tenant."""
    tenants = connections.tenant_history(tx, connection.partner_id)
    every = mappings.mapped_additions(tx, connection.partner_id)
    return frozenset(addition for addition, at in every if connections.tenant_at(tenants, at) == connection.tenant)


def companies_to_recheck(tx: Tx, connection: ConnectionVersion) -> set[str]:
    """Return the companies whose mapping was found invalid, or was made under another ConnectWise."""
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
) -> ToCheck:
    sharing = mapped.get(mapping.addition, ()) if mapping.addition else ()
    counts = {member.company_id: 0 for member in sharing}
    shared = quantities.shared_quantity(sharing, counts) if len(sharing) > 1 else 0
    problems = (shared.problem,) if isinstance(shared, quantities.Answer) else ()
    if held is None or held[0] == mapping.addition or mapped.get(held[0]):
        return ToCheck(mapping, problems)
    warning = problem("old_addition_holds", addition=held[0][1], period=held[1])
    return ToCheck(mapping, problems, (warning,))


def last_check(mapping: Mapping) -> MappingChecked | None:
    """Return the result of this version's last check; None as long as it has not been checked."""
    text = mapping.check_json
    return None if text is None else MappingChecked.model_validate_json(text, extra="ignore")


def check_mapping(
    session: ConnectWiseSession,
    to_check: ToCheck,
    now: datetime,
    before_page: Callable[[], None],
    read_taken: Callable[[], frozenset[Addition]],
    addition: ActualAddition | None = None,
) -> MappingChecked:
    """Read the records that the mapping names, one GET each; not the `addition`, if that was just read.

    A mapping that has become invalid costs more, as its successor is searched; `before_page` is called before each
    page of a list but the first, `read_taken` for the additions that are mapped already. Raises the session's errors.
    """
    try:
        return _compare(session, to_check, now, before_page, read_taken, addition)
    except RightRefused as error:
        if to_check.mapping.agreement_id is not None:
            raise
        # Only the company was read: lines do without this right.
        return _message(to_check.mapping, "invalid", problems=(problem(MISSING_RIGHT[error.right], said=error.said),))


def _compare(
    session: ConnectWiseSession,
    to_check: ToCheck,
    now: datetime,
    before_page: Callable[[], None],
    read_taken: Callable[[], frozenset[Addition]],
    addition: ActualAddition | None,
) -> MappingChecked:
    mapping, problems, today = to_check.mapping, list(to_check.problems), now.date()
    agreement: Agreement | None = None
    term: AgreementTerm | None = None
    company: Company | None = None
    deleted: tuple[Problem, ...] = ()
    try:
        if mapping.agreement_id is not None:
            agreement = session.agreement(mapping.agreement_id)
            term = billable.term_of(agreement)
            if billable.belongs_elsewhere(agreement, mapping):
                problems.append(problem("agreement_elsewhere"))
            problems += billable.assess_agreement(term, billable.single_day(today), today).problems
        company, deleted = _company(session, mapping)
        problems += deleted
        if mapping.addition is not None and addition is None:
            addition = session.addition(*mapping.addition)
    except RecordNotFound as error:
        problems.append(problem("record_not_found", said=error.said))
    product, product_id = ((mapping.check or {}).get(name) for name in ("product", "product_id"))
    if addition is not None and mapping.addition is not None:
        facts = billable.MappingFacts(
            mapping.addition[0],
            agreement=term or billable.UNKNOWN_TERM,
            product=product,
            product_id=product_id,
            allows_not_billable=mapping.allow_not_billable,
        )
        assessment = billable.assess(addition, [facts], billable.single_day(today), today)
        problems += [found for found in assessment.problems if found not in problems]
        if not billable.is_another_product(addition, product, product_id):
            product, product_id = billable.product_of(addition)
    is_new = any(found not in to_check.problems for found in problems)
    needs_successor = is_new and mapping.addition is not None and not deleted
    company_name = (company.name if company else "") or (agreement.company.name if agreement else "")
    warnings = (*to_check.warnings, *_another_customer(mapping, company_name, company.identifier if company else ""))
    status: MappingStatus = "invalid" if problems else "complete" if mapping.addition else "incomplete"
    return _message(
        mapping,
        status,
        problems=tuple(with_link(found, session.connection, mapping) for found in problems),
        cw_company_name=_name(company_name),
        agreement_name=_name(agreement.name if agreement else None),
        addition_name=_name(addition.description or addition.product.identifier if addition else None),
        product=product,
        product_id=product_id,
        quantity=addition.quantity if addition else None,
        billable=billable.is_billable(addition) if addition else None,
        agreement=term,
        time=now,
        warnings=tuple(with_link(found, session.connection, mapping) for found in warnings),
        successor=likely_successor(session, mapping, read_taken, product, now, before_page)
        if needs_successor
        else None,
    )


def _company(session: ConnectWiseSession, mapping: Mapping) -> tuple[Company | None, tuple[Problem, ...]]:
    """Return the company and its problems. A mapping with an agreement does without, so no error stops its check."""
    try:
        company = session.company(mapping.cw_company_id or 0)
    except RecordNotFound as error:
        return None, (problem("company_deleted", said=error.said),)
    except NOT_READ as error:
        if mapping.agreement_id is None:
            raise
        log.info("company.not_read", company=mapping.company_id, error_type=type(error).__name__)
        earlier = last_check(mapping)
        return None, tuple(found for found in (earlier.problems if earlier else ()) if found.code == "company_deleted")
    # A deleted one stays readable (connectwise-api.md 5.4).
    return company, (problem("company_deleted"),) if company.deleted_flag else ()


def _another_customer(mapping: Mapping, name: str, identifier: str) -> tuple[Problem, ...]:
    """Return the warning that the company in ConnectWise, of this name and identifier, seems to be another customer."""
    ours = mapping.company_name
    # A company that was mapped without a name has its id for one.
    is_comparable = bool(name) and ours != mapping.company_id
    if is_comparable and nothing_in_common(ours, name) and nothing_in_common(ours, identifier):
        return (problem("names_differ", phin=ours, connectwise=name),)
    return ()


def check_later(mapping: Mapping, at: datetime, *, counts: bool) -> CheckedMapping:
    """Return that the mapping is to be checked again at this time; `counts`: the next attempt then waits longer."""
    return CheckedMapping(replace(mapping, check_attempts=mapping.check_attempts + counts), None, at)


def failed_check(mapping: Mapping, why: Problem) -> CheckedMapping:
    """Return that the mapping cannot be checked, for a reason that will not pass by itself."""
    return CheckedMapping(mapping, _message(mapping, "invalid", problems=(why,)))


def check_offline(to_check: ToCheck) -> CheckedMapping | None:
    """Return the check if it needs no ConnectWise: nothing is chosen (yet), or it was chosen in another one."""
    mapping = to_check.mapping
    if mapping.cw_company_id is None:
        return CheckedMapping(mapping, _message(mapping, "incomplete", warnings=to_check.warnings))
    return failed_check(mapping, problem("map_again")) if to_check.is_foreign else None


def not_connected(to_check: ToCheck) -> CheckedMapping:
    """Return the check of a mapping while no ConnectWise is connected."""
    return check_offline(to_check) or failed_check(to_check.mapping, problem("not_connected"))


def _message(mapping: Mapping, status: MappingStatus, **found: Any) -> MappingChecked:  # noqa: ANN401 - its fields
    """Return the result of this mapping's check; names that it could not read are those of the earlier check."""
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
