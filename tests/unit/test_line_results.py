"""The message that says what became of a line."""

import pytest

from cwclient import Addition
from store.pushes import Line, Push
from tests.support.samples import NOVEMBER, PARTNER, TEN
from worker.sync.results import money, result

PUSH = Push(
    partner_id=PARTNER,
    push_id="p-1",
    message_id="m-1",
    correlation_id="q-1",
    traceparent=None,
    requested_at=TEN,
    requested_by="ana",
    period=NOVEMBER,
    mode="preview",
    connection_changed_at=None,
    line_count=1,
    accepted_at=TEN,
    round=0,
    state="accepted",
    body_hash="hash",
)
LINE = Line(PUSH, "c-1", "Acme", 42, None, None, "pending", 0, 0)


def test_an_amount_that_no_number_holds_is_not_told() -> None:
    """A preview is answered for any price and quantity in ConnectWise: without what cannot be multiplied."""
    largest = Addition(id=5, quantity=-1.7e308, less_included=-1.7e308, unit_price=1e300)
    told = result(LINE, "preview", attempts=1, before=largest.quantity, wanted=42.0, money=money(largest, 1.7e308))
    assert (told.unit_price, told.quantity_wanted) == (1e300, 42)
    assert (told.difference, told.amount, told.amount_difference) == (None, None, None)


@pytest.mark.parametrize("price", [2.5, None])
def test_nothing_is_billed_for_an_addition_that_is_not_billable(price: float | None) -> None:
    """An addition that is counted for its cost only adds nothing to a preview's amounts; its price is still told."""
    cost_only = Addition(id=5, quantity=5, unit_price=price, bill_customer="DoNotBill")
    shown = money(cost_only, 7)
    assert (shown.unit_price, shown.difference, shown.amount, shown.amount_difference) == (price, 2, 0, 0)
