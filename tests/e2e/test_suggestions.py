"""Suggestions: which ConnectWise company, agreement and addition a Phin company may be billed by."""

from typing import Any

import pytest

from messages import MappingChanged, Suggestion
from store import mappings
from tests.e2e.test_catalog import ADDITIONS, AGREEMENTS, COMPANIES, add
from tests.support.asking import ask, reads, suggestions_for
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import World, now


def first(world: World, *names: str) -> dict[str, Suggestion]:
    """The first suggestion for each company, by its name."""
    listed = ask(world, suggestions_for(*names))
    assert listed.problem is None
    best: dict[str, Suggestion] = {}
    for suggestion in listed.suggestions:
        best.setdefault(names[int(suggestion.company_id[1:]) - 1], suggestion)
    return best


def line(number: int, **fields: Any) -> dict[str, Any]:
    """An addition of agreement 71, which is the one of company 7."""
    return {"id": number, "agreementId": 71, **fields}


@pytest.fixture
def acme(case: Case) -> World:
    """Company 7, Acme, has one active agreement with no addition yet."""
    add(case.world, companies=[{"id": 7, "name": "Acme"}], agreements=[{"id": 71, "company": {"id": 7}}])
    return case.world


def test_names_are_matched_with_score_and_reason(case: Case) -> None:
    """An exact name is certain, a similar one comes with its reason, an unlike one not at all; nothing is mapped."""
    add(case.world, companies=[{"id": 7, "name": "Acme Inc."}, {"id": 8, "name": "Globex"}])
    found = first(case.world, "Acme", "Globex", "Initech")
    assert (found["Globex"].reason, found["Globex"].score, found["Globex"].certain) == ("exact", 100, True)
    assert (found["Acme"].reason, found["Acme"].cw_company_id, found["Acme"].certain) == ("legal_form", 7, False)
    assert "Initech" not in found
    with case.world.database.begin() as tx:
        assert {mapping.company_id for mapping in mappings.of_partner(tx, "p1")} == {"c1", "c2"}


def test_two_companies_that_reach_the_same_one_are_not_certain(case: Case) -> None:
    """One name twice in Phin, or a company that is mapped already: nobody can accept either without a look."""
    add(case.world, companies=[{"id": 7, "name": "Acme"}])
    twins = first(case.world, "Acme", "ACME Inc")
    assert (twins["Acme"].reason, twins["Acme"].ambiguous, twins["Acme"].certain) == ("exact", True, False)
    assert first(case.world, "Company 1")["Company 1"].certain is False
    assert first(case.world, "Company 3")["Company 3"].certain is True


def test_two_companies_of_one_name_are_told_apart(case: Case) -> None:
    """ConnectWise has the name twice: both are suggested, neither is certain, and their identifiers differ."""
    add(case.world, companies=[{"id": 7, "name": "Acme", "identifier": "ACME"}])
    add(case.world, companies=[{"id": 8, "name": "Acme", "identifier": "ACME-OLD"}])
    both = ask(case.world, suggestions_for("Acme")).suggestions
    assert [(one.cw_company_id, one.cw_company_identifier, one.certain) for one in both] == [
        (7, "ACME", False),
        (8, "ACME-OLD", False),
    ]


@pytest.mark.parametrize(
    ("additions", "proposed"),
    [
        ([line(1)], 1),
        ([line(1), line(2)], None),
        ([line(1), line(2, description="Security-Awareness  Training")], 2),
        ([line(1), line(2, product={"identifier": "PHIN-SAT"})], 2),
        ([line(1, description="Phin"), line(2, description="Phishing tests")], None),
        ([line(1), line(2, description="Phin", cancelledDate="2024-02-01T00:00:00Z")], 1),
        ([line(1, billCustomer="DoNotBill")], None),
        ([], None),
    ],
)
def test_an_addition_is_proposed_if_it_stands_out(
    acme: World, additions: list[dict[str, Any]], proposed: int | None
) -> None:
    """The only addition that can be billed is proposed, or the only one that looks like Phin; else none."""
    add(acme, additions=additions)
    found = first(acme, "Acme")["Acme"]
    assert found.agreement is not None
    assert (found.agreement.id, found.addition.id if found.addition else None) == (71, proposed)


def test_of_several_agreements_the_one_with_phin_is_proposed(acme: World) -> None:
    """Two active agreements: none is proposed, unless exactly one of their additions looks like Phin."""
    add(acme, agreements=[{"id": 72, "company": {"id": 7}}], additions=[line(1), {"id": 2, "agreementId": 72}])
    found = first(acme, "Acme")["Acme"]
    assert (found.agreement, found.addition) == (None, None)
    add(acme, additions=[{"id": 3, "agreementId": 72, "description": "Phin"}])
    listed = ask(acme, suggestions_for("Acme", refresh=True))
    agreement, addition = listed.suggestions[0].agreement, listed.suggestions[0].addition
    assert (agreement and agreement.id, addition and addition.id) == (72, 3)


def test_an_addition_that_is_mapped_already_is_not_proposed(acme: World) -> None:
    """No second company is led to an addition that another one is billed by."""
    add(acme, additions=[line(1)])
    mapped = MappingChanged(
        partner_id="p1",
        correlation_id="test",
        changed_at=now(),
        company_id="other",
        company_name="Other",
        cw_company_id=7,
        agreement_id=71,
        addition_id=1,
    )
    acme.publish(mapped)
    wait_for(lambda: Case(acme).has_mapping_of(mapped.changed_at), "the mapping")
    found = first(acme, "Acme")["Acme"]
    assert (found.certain, found.addition) == (False, None)


def test_many_companies_take_few_requests(case: Case) -> None:
    """Agreements of all companies of a page are asked for at once; only those shown first are looked into."""
    numbers = range(100, 170)
    add(
        case.world,
        companies=[{"id": number, "name": f"Firm {number}"} for number in numbers],
        agreements=[{"id": 2000 + number, "company": {"id": number}} for number in numbers],
    )
    names = [f"Firm {number}" for number in numbers]
    listed = ask(case.world, suggestions_for(*names))
    assert (len(listed.suggestions), listed.more) == (50, True)
    rest = ask(case.world, suggestions_for(*names, page=2))
    assert (len(rest.suggestions), rest.more) == (20, False)
    assert (reads(case.world, COMPANIES), reads(case.world, AGREEMENTS), reads(case.world, ADDITIONS)) == (1, 2, 70)


def test_without_names_those_that_are_not_mapped_get_suggestions(case: Case) -> None:
    """A question that names nobody is for companies whose mapping was begun or removed, not for the mapped ones."""
    removed = case.world.mapped("p1", 1).model_copy(
        update={"cw_company_id": None, "agreement_id": None, "addition_id": None}
    )
    case.world.publish(removed)
    wait_for(lambda: case.has_mapping_of(removed.changed_at), "the mapping")
    listed = ask(case.world, suggestions_for())
    assert [(one.company_id, one.cw_company_id, one.certain) for one in listed.suggestions] == [("c1", 1, True)]
