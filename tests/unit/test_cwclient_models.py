"""Records are read leniently where that is harmless, and strictly where money depends on it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cwclient import Addition, Agreement, Company, CompanyInfo, ServerTrouble, id_in
from cwclient.models import Count, read


def test_an_addition_is_read_with_unknown_and_missing_fields() -> None:
    """A ConnectWise release that adds or drops fields does not stop the billing."""
    addition = read(Addition, {"id": 5, "new": {"x": 1}, "product": {"id": 3, "identifier": "PHIN"}, "quantity": 4.0})
    assert (addition.id, addition.product.identifier, addition.quantity) == (5, "PHIN", 4)
    assert (addition.less_included, addition.agreement_status, addition.cancelled_date) == (None, None, None)


def test_camel_case_names_and_dates_are_understood() -> None:
    """Dates in UTC decide whether a line is alive; "" means unset."""
    value = {
        "id": 5, "agreementId": 7, "lessIncluded": 1, "unitPrice": "2.50", "billCustomer": "Billable",
        "effectiveDate": "2026-11-01T00:00:00Z", "cancelledDate": "", "agreementStatus": "Active",
        "additionStatus": "Cancelled", "product": None, "description": None,
    }  # fmt: skip
    addition = read(Addition, value)
    assert addition.effective_date == datetime(2026, 11, 1, tzinfo=UTC)
    assert addition.cancelled_date is None
    assert (addition.agreement_id, addition.unit_price, addition.addition_status) == (7, 2.5, "Cancelled")
    assert (addition.product.identifier, addition.description) == ("", "")
    naive = read(Agreement, {"id": 1, "endDate": "2026-12-31T00:00:00"})
    assert naive.end_date == datetime(2026, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(("raw", "number"), [(4, 4), (4.5, 4.5), ("4", 4), ("4.50", 4.5), (None, None)])
def test_quantity_is_a_number_also_when_sent_as_text(raw: object, number: float | None) -> None:
    """Quantities are compared as numbers, never as text."""
    assert read(Addition, {"id": 5, "quantity": raw}).quantity == number


@pytest.mark.parametrize("raw", [True, "", "many", "NaN", "Infinity", float("nan"), float("inf"), [4], {"v": 4}])
def test_what_is_no_number_is_never_a_quantity(raw: object) -> None:
    """No guess is made about a quantity that cannot be read."""
    with pytest.raises(ServerTrouble, match="no Addition: quantity"):
        read(Addition, {"id": 5, "quantity": raw})


@pytest.mark.parametrize(
    "value", [None, [], "x", 3, {}, {"id": None}, {"id": True}, {"id": "x"}, {"id": 0}, {"id": 2**31}]
)
def test_what_is_no_record_is_server_trouble(value: Any) -> None:
    """An answer of another shape is the server's trouble, not an internal error."""
    with pytest.raises(ServerTrouble) as caught:
        read(Company, value)
    assert caught.value.sent


def test_names_lose_what_databases_and_pages_cannot_take() -> None:
    """A company name with a NUL or half a surrogate is still listed."""
    assert read(Company, {"id": 1, "name": " A\x00c\ud800me\r\n "}).name == "A cme"


def test_company_info_takes_its_flag_as_text() -> None:
    """The companyinfo answer is in Pascal case, with IsCloud as a string."""
    info = read(CompanyInfo, {"CompanyName": "CW", "Codebase": "v2017_3/", "IsCloud": "True", "SiteUrl": None})
    assert (info.company_name, info.codebase, info.is_cloud, info.site_url) == ("CW", "v2017_3/", True, "")
    with pytest.raises(ServerTrouble):
        read(CompanyInfo, {"CompanyName": "CW"})
    with pytest.raises(ServerTrouble):
        read(Count, {"count": -1})


def test_conditions_are_made_of_ids_only() -> None:
    """No text of a partner ever becomes part of a ConnectWise condition."""
    assert id_in([7]) == "id=7"
    assert id_in([7, 3, 7]) == "id in (3,7)"
    assert id_in([250], "company") == "company/id=250"
    for count in (0, 151):
        with pytest.raises(ValueError, match="1 to 150"):
            id_in(range(count))
