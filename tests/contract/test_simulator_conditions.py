"""The simulator reads `conditions` as connectwise-api.md 4.3 describes them."""

import pytest

from cwclient.simulator.conditions import compile_conditions
from cwclient.simulator.errors import ApiError
from cwclient.simulator.schema import SCHEMAS, Record

FIELDS = {**SCHEMAS["Addition"], "company": SCHEMAS["Agreement"]["company"]}
RECORD: Record = {
    "id": 11,
    "quantity": 4.5,
    "taxableFlag": False,
    "description": "Phin [Security] 100% & more",
    "agreementStatus": "Active",
    "effectiveDate": "2025-03-01T00:00:00Z",
    "product": {"id": 3, "identifier": "PHIN-SAT"},
    "company": {"id": 250},
    "_info": {"lastUpdated": "2026-01-01T00:00:00Z"},
}


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ("id=11", True),
        ("id != 11", False),
        ("quantity>4.4 and quantity<=4.5", True),
        ("taxableFlag=False", True),
        ("taxableFlag = true", False),
        ('agreementStatus="Active"', True),
        ("agreementStatus='Cancelled'", False),
        ("company/id=250", True),
        ('product/identifier="phin-sat"', True),
        ("effectiveDate>[2025-02-28T23:59:59Z]", True),
        ("effectiveDate>[2025-03-01T02:00:00+02:00]", False),
        ("lastUpdated>[2016-08-20T18:04:26Z]", True),
        ("cancelledDate=null", True),
        ("cancelledDate!=null", False),
        ("cancelledDate<[2030-01-01T00:00:00Z]", False),
        ('description contains "security"', True),
        ('description contains "100*"', False),
        ('description like "Phin*"', True),
        ('description like "%more"', True),
        ('description like "*[[]Sec*"', True),
        ('description like "Phin"', False),
        ('description not contains "Phin"', False),
        ("id in (1, 11)", True),
        ("id not in (1,2)", True),
        ('agreementStatus in ("Active","Expired")', True),
        ("not id=11", False),
        ("id=1 or id=2 and quantity=4.5 or id=11", True),
        ("(id=11 or id=2) and quantity=1", False),
        ("not (id=1 or id=2)", True),
    ],
)
def test_conditions_select(conditions: str, found: bool) -> None:  # noqa: FBT001 - the expected value of a table
    """Each documented form selects the records it says, on the types that records have."""
    assert compile_conditions(conditions, FIELDS)(RECORD) is found


@pytest.mark.parametrize(
    "conditions",
    [
        "colour=1",
        "id",
        "id=",
        "id=1 and",
        "id==1",
        "id=1 id=2",
        "(id=1",
        'id="1"',
        "description=5",
        "effectiveDate>2025",
        "effectiveDate>[yesterday]",
        "cancelledDate<null",
        "id contains 1",
        "product=3",
        "id in ()",
        'description="a"b"',
        "agreementStatus=Active",
        "(" * 100 + "id=1" + ")" * 100,
        ";",
    ],
)
def test_bad_conditions_are_refused(conditions: str) -> None:
    """A condition that cannot be read, names an unknown field or compares with another type is a 400."""
    with pytest.raises(ApiError) as caught:
        compile_conditions(conditions, FIELDS)
    assert caught.value.status == 400
