"""May an addition be billed through in a period: tables of cases, from the records, the last check and the days."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from cwclient import Addition, Agreement
from messages import AgreementTerm, MappingChecked, MappingStatus
from tests.support.samples import NOVEMBER, PARTNER, TEN, mapping, minute
from worker.rules import billable
from worker.rules.billable import Assessment, MappingFacts
from worker.rules.problems import problem

TODAY = date(2025, 11, 22)
KNOWN = MappingFacts(7, checked_at=TEN, product="PHIN-SAT", product_id=1)


def _at(day: str) -> datetime:
    """A date as ConnectWise writes it."""
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


def _addition(**changes: Any) -> Addition:
    fields: dict[str, Any] = {
        "id": 11,
        "agreement_id": 7,
        "product": {"id": 1, "identifier": "PHIN-SAT"},
        "quantity": 4.0,
        "bill_customer": "Billable",
        "effective_date": _at("2024-01-01"),
        "agreement_status": "Active",
        "addition_status": "Active",
    }
    return Addition(**fields | changes)


def _short(assessment: Assessment) -> "Said":
    refused = assessment.refused.code if assessment.refused else None
    return refused, [why.code for why in assessment.unbilled_days], assessment.no_day_billed


Said = tuple[str | None, list[str], bool]
WRITE: Said = (None, [], False)
ANOTHER: Said = ("product_changed", [], False)
CANCELLED, NOT_BEGUN = "addition_cancelled", "addition_not_begun"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, WRITE, id="live"),
        pytest.param(
            {"agreement_id": None, "bill_customer": None, "agreement_status": None, "addition_status": None},
            WRITE,
            id="fields left out",
        ),
        pytest.param({"effective_date": None}, WRITE, id="no dates"),
        pytest.param({"effective_date": _at("2025-11-01")}, WRITE, id="effective on the first day"),
        pytest.param({"effective_date": _at("2025-11-02")}, (None, [NOT_BEGUN], False), id="on the second"),
        pytest.param({"effective_date": _at("2025-11-30")}, (None, [NOT_BEGUN], False), id="on the last"),
        pytest.param({"effective_date": _at("2025-12-01")}, (None, [NOT_BEGUN], True), id="after the period"),
        pytest.param({"cancelled_date": _at("2025-12-01")}, WRITE, id="cancelled after the period"),
        pytest.param({"cancelled_date": _at("2025-11-30")}, WRITE, id="on its last day"),
        pytest.param(
            {"cancelled_date": _at("2025-11-30"), "addition_status": "Cancelled"},
            WRITE,
            id="the dates are the authority",
        ),
        pytest.param({"cancelled_date": _at("2025-11-29")}, (None, [CANCELLED], False), id="a day before its end"),
        pytest.param({"cancelled_date": _at("2025-11-01")}, (None, [CANCELLED], False), id="on its first day"),
        pytest.param({"cancelled_date": _at("2025-10-31")}, (None, [CANCELLED], True), id="before the period"),
        pytest.param(
            {"cancelled_date": datetime.fromisoformat("2025-11-30T23:00:00-05:00")},
            WRITE,
            id="the day as it is written",
        ),
        pytest.param(
            {"effective_date": _at("2025-11-30"), "addition_status": "Inactive"},
            (None, [NOT_BEGUN], False),
            id="inactive until it begins",
        ),
        pytest.param({"addition_status": "Cancelled"}, (CANCELLED, [], False), id="cancelled without a date"),
        pytest.param({"addition_status": "Expired"}, ("addition_not_active", [], False), id="expired without a date"),
        pytest.param({"addition_status": "Inactive"}, ("addition_not_active", [], False), id="inactive all the same"),
        pytest.param({"agreement_id": 8}, ("addition_elsewhere", [], False), id="of another agreement"),
        pytest.param({"product": {"id": 2, "identifier": "BACKUP"}}, ANOTHER, id="another product"),
        pytest.param({"product": {"identifier": "BACKUP"}}, ANOTHER, id="another product, no id"),
        pytest.param({"product": {"id": 1, "identifier": "PHIN-2"}}, WRITE, id="product renamed"),
        pytest.param({"product": {"id": 2, "identifier": "PHIN-SAT"}}, WRITE, id="product made anew"),
        pytest.param({"bill_customer": "DoNotBill"}, ("not_billable", [], False), id="do not bill"),
        pytest.param({"bill_customer": "NoCharge"}, ("not_billable", [], False), id="no charge"),
        pytest.param({"agreement_status": "Cancelled"}, ("agreement_cancelled", [], False), id="agreement cancelled"),
        pytest.param({"agreement_status": "Expired"}, ("agreement_expired", [], False), id="agreement expired"),
        pytest.param({"agreement_status": "Inactive"}, ("agreement_inactive", [], False), id="agreement inactive"),
        pytest.param({"agreement_status": "Paused"}, ("agreement_not_active", [], False), id="agreement paused"),
    ],
)
def test_an_addition_is_judged_for_its_period(changes: dict[str, Any], said: object) -> None:
    """A quantity for days that are never invoiced is money lost: days are compared, first and last inclusive."""
    known = MappingFacts(7, checked_at=TEN, product="PHIN-SAT", product_id=1)
    assert _short(billable.assess(_addition(**changes), [known], NOVEMBER, TODAY)) == said


def test_what_is_not_billable_on_purpose_is_written_if_all_its_mappings_allow_it() -> None:
    """An addition that is counted for its cost only gets its quantity; of a sum each company must allow it."""
    allows, at = replace(KNOWN, allows_not_billable=True), _addition(bill_customer="DoNotBill")
    assert _short(billable.assess(at, [allows, allows], NOVEMBER, TODAY)) == WRITE
    assert _short(billable.assess(at, [allows, KNOWN], NOVEMBER, TODAY)) == ("not_billable", [], False)


TERMS: list[tuple[dict[str, Any], str | None, object]] = [
    ({}, None, WRITE),
    ({"start_date": "2025-11-01", "end_date": "2025-11-30"}, "Active", WRITE),
    ({"end_date": "2025-11-30"}, "Active", WRITE),
    ({"end_date": "2025-11-29"}, "Active", (None, ["agreement_expired"], False)),
    ({"end_date": "2025-10-31"}, "Expired", (None, ["agreement_expired"], True)),
    ({"start_date": "2025-11-02"}, "Active", (None, ["agreement_not_begun"], False)),
    ({"start_date": "2025-12-01"}, "Inactive", (None, ["agreement_not_begun"], True)),
    ({"cancelled_date": "2025-11-22"}, "Cancelled", (None, ["agreement_cancelled"], False)),
    ({"cancelled_date": "2025-11-21", "end_date": "2025-12-31"}, "Cancelled", (None, ["agreement_cancelled"], False)),
    ({"cancelled_date": "2025-12-31", "end_date": "2025-11-21"}, "Expired", (None, ["agreement_expired"], False)),
    # A cancellation that shows before its day has come.
    ({"cancelled_date": "2025-11-30", "status": "Cancelled"}, "Cancelled", WRITE),
    ({"cancelled_date": "2025-11-29", "status": "Cancelled"}, "Cancelled", (None, ["agreement_cancelled"], False)),
    # A status that the dates do not explain.
    ({"end_date": "2025-12-31"}, "Expired", ("agreement_expired", [], False)),
    ({"status": "Cancelled"}, "Active", ("agreement_cancelled", [], False)),
    ({"status": "Cancelled"}, None, ("agreement_cancelled", [], False)),
]


@pytest.mark.parametrize(("term", "status", "said"), TERMS)
def test_an_agreement_is_judged_for_the_period(term: dict[str, Any], status: str | None, said: object) -> None:
    """The agreement's days and status count like the addition's: cancelled, ended, not yet begun."""
    days: dict[str, Any] = {
        name: value if name == "status" else date.fromisoformat(value) for name, value in term.items()
    }
    known = MappingFacts(7, checked_at=TEN, agreement=AgreementTerm(**days))
    assert _short(billable.assess(_addition(agreement_status=status), [known], NOVEMBER, TODAY)) == said


def test_a_status_of_today_does_not_hold_an_earlier_period() -> None:
    """In December the agreement that ended in November shows as expired: November is billed all the same."""
    known = MappingFacts(7, checked_at=TEN, agreement=AgreementTerm(status="Expired", end_date=date(2025, 11, 30)))
    judged = billable.assess(_addition(agreement_status="Expired"), [known], NOVEMBER, date(2025, 12, 3))
    assert _short(judged) == WRITE


def test_what_stands_against_one_mapping_stands_against_the_sum() -> None:
    """Two companies are summed, and one is deleted in ConnectWise: nothing is written for the other alone."""
    bad = MappingFacts(7, checked_at=TEN, standing=(problem("company_deleted"),))
    assert _short(billable.assess(_addition(), [KNOWN, bad], NOVEMBER, TODAY)) == ("company_deleted", [], False)


def _checked(status: MappingStatus = "complete", *codes: str, **fields: Any) -> MappingChecked:
    told = {"time": TEN, "agreement": AgreementTerm(status="Active"), "product": "PHIN-SAT", "product_id": 1, **fields}
    return MappingChecked(
        partner_id=PARTNER,
        correlation_id="q",
        company_id="c-1",
        changed_at=TEN,
        status=status,
        problems=tuple(problem(code) for code in codes),
        **told,
    )


BEFORE, AFTER = minute(-1), minute(1)
ENDED = AgreementTerm(status="Expired", end_date=date(2025, 10, 31))
ENDING = AgreementTerm(status="Active", cancelled_date=date(2025, 12, 31))
CANCELLED_LATER = AgreementTerm(status="Cancelled", cancelled_date=date(2025, 12, 31))


@pytest.mark.parametrize(
    ("checked", "since", "actual", "doubt"),
    [
        pytest.param(_checked(), AFTER, {}, False, id="well"),
        pytest.param(None, BEFORE, {}, True, id="never checked"),
        pytest.param(_checked(agreement=None), BEFORE, {}, True, id="nothing seen of the agreement"),
        pytest.param(_checked(product_id=None), BEFORE, {}, True, id="no id kept of the product"),
        pytest.param(_checked(product_id=None), BEFORE, {"product": {}}, False, id="the product has no id"),
        pytest.param(_checked("invalid", "agreement_elsewhere"), AFTER, {}, True, id="found invalid before the push"),
        pytest.param(_checked("invalid", "agreement_elsewhere"), BEFORE, {}, False, id="found invalid since"),
        pytest.param(_checked("invalid", "company_deleted"), AFTER, {}, True, id="its company is deleted"),
        pytest.param(_checked("invalid", "not_billable"), AFTER, {}, False, id="the addition tells that itself"),
        pytest.param(_checked(agreement=ENDED), AFTER, {}, True, id="held by days of an earlier check"),
        pytest.param(_checked(agreement=ENDED), BEFORE, {}, False, id="held by days of a new check"),
        pytest.param(_checked(), AFTER, {"agreement_status": "Expired"}, True, id="a status that no date explains"),
        pytest.param(_checked(agreement=ENDING), AFTER, {"agreement_status": "Cancelled"}, True, id="cancelled since"),
        pytest.param(_checked(agreement=CANCELLED_LATER), AFTER, {"agreement_status": "Cancelled"}, True, id="later"),
        pytest.param(_checked(agreement=CANCELLED_LATER), BEFORE, {"agreement_status": "Cancelled"}, False, id="seen"),
        pytest.param(_checked(), AFTER, {"bill_customer": "NoCharge"}, False, id="refused anyway"),
        pytest.param(None, AFTER, {"agreement_id": 8}, False, id="refused anyway, never checked"),
    ],
)
def test_what_an_old_check_holds_against_a_line_is_asked_again(
    checked: MappingChecked | None, since: datetime, actual: dict[str, Any], *, doubt: bool
) -> None:
    """A coordinator who mends the records and pushes again is not held up by older findings; nothing else costs."""
    mapped = mapping()
    known = billable.facts_of(mapped, checked)
    asked = billable.needs_check(_addition(**actual), None, mapped, known, period=NOVEMBER, since=since, today=TODAY)
    assert asked == doubt


@pytest.mark.parametrize(
    ("agreement", "doubt"),
    [
        ({}, False),
        ({"company": {"id": 1}}, False),
        ({"company": {"id": 2}}, True),
        ({"end_date": _at("2025-10-31")}, True),
        ({"end_date": _at("2025-10-31"), "no_ending_date_flag": True}, False),
        ({"date_cancelled": _at("2025-10-31")}, True),
        ({"cancelled_flag": True}, True),
    ],
)
def test_what_a_preview_reads_of_the_agreement_is_not_ignored(agreement: dict[str, Any], *, doubt: bool) -> None:
    """The agreement has changed since the last check: the preview has that repeated, so that the push knows it too."""
    mapped, fields = mapping(), {"id": 7, "agreement_status": "Active", **agreement}
    known = billable.facts_of(mapped, _checked())
    asked = billable.needs_check(
        _addition(), Agreement(**fields), mapped, known, period=NOVEMBER, since=BEFORE, today=TODAY
    )
    assert asked == doubt


def test_a_day_does_not_depend_on_the_hour() -> None:
    """All instants of the last day are that day."""
    for hours in (0, 12, 23):
        at = datetime(2025, 11, 30, tzinfo=UTC) + timedelta(hours=hours)
        assert _short(billable.assess(_addition(cancelled_date=at), [KNOWN], NOVEMBER, TODAY)) == WRITE
