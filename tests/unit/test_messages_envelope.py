"""The envelope, the strict value types and the billing period."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from messages import (
    BillingPeriod,
    Confirmation,
    ConnectionChanged,
    MappingChanged,
    PushLine,
    PushRequested,
    SyncResult,
    derived_id,
    plain_text,
)

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENVELOPE: dict[str, Any] = {"partner_id": "msp-1", "correlation_id": "q-1"}
NOVEMBER = BillingPeriod(start=date(2026, 11, 1), end=date(2026, 11, 30))


def _push(**changes: Any) -> PushRequested:
    fields: dict[str, Any] = {
        **ENVELOPE,
        "push_id": "p-1",
        "period": NOVEMBER,
        "requested_at": LONG_AGO,
        "requested_by": "ana",
        "mode": "apply",
        "lines": [PushLine(company_id="c-1", company_name="Acme", billable_users=1)],
    }
    return PushRequested(**fields | changes)


def _mapping(**changes: Any) -> MappingChanged:
    fields: dict[str, Any] = {**ENVELOPE, "changed_at": LONG_AGO, "company_id": "c-1", "company_name": "Acme"}
    return MappingChanged(**fields | changes)


def _result(**changes: Any) -> SyncResult:
    fields: dict[str, Any] = {
        **ENVELOPE,
        "push_id": "p-1",
        "company_id": "c-1",
        "period": NOVEMBER,
        "requested_at": LONG_AGO,
        "sequence": 1,
        "status": "updated",
    }
    return SyncResult(**fields | changes)


def test_a_new_message_has_its_own_time_ordered_id() -> None:
    """Two messages never share an id, and ids are UUIDv7."""
    first, second = _mapping(), _mapping()
    assert first.id != second.id
    assert {first.id.version, second.id.version} == {7}


@pytest.mark.parametrize("bad", [True, False, "42", 42.0, -1, 1_000_001, None])
def test_a_count_is_an_integer_from_0_to_a_million(bad: object) -> None:
    """No number of users is guessed from something that only looks like one."""
    with pytest.raises(ValidationError):
        PushLine.model_validate({"company_id": "c", "company_name": "A", "billable_users": bad})


@pytest.mark.parametrize("bad", [True, "4", float("nan"), float("inf"), 10**400, None])
def test_a_quantity_is_a_finite_number(bad: object) -> None:
    """A before-value that no JSON number can carry is refused."""
    with pytest.raises(ValidationError):
        Confirmation.model_validate({"company_id": "c", "reasons": ["big_jump"], "quantity_before": bad})


@pytest.mark.parametrize("quantity", [0, 4, 4.5, -3])
def test_a_quantity_stays_the_number_it_was(quantity: float) -> None:
    """4 stays 4 and 4.5 stays 4.5."""
    confirmation = Confirmation(company_id="c", reasons=("big_jump",), quantity_before=quantity)
    assert confirmation.quantity_before == quantity
    assert type(confirmation.quantity_before) is type(quantity)


@pytest.mark.parametrize("bad", ["", " c", "c ", "a\0b", "a\nb", "a\u200bb", "\ud800", "x" * 129, 17])
def test_an_id_is_up_to_128_characters_that_can_be_seen(bad: object) -> None:
    """Ids that look alike but differ, or that a database cannot store, are refused."""
    with pytest.raises(ValidationError):
        PushLine.model_validate({"company_id": bad, "company_name": "A", "billable_users": 1})


@pytest.mark.parametrize("bad", ["", "   ", "a\0b", "a\x1bb", "\udfff", "x" * 257])
def test_a_name_is_up_to_256_printable_characters(bad: str) -> None:
    """A name cannot smuggle control characters into a terminal, a page or a database."""
    with pytest.raises(ValidationError):
        PushLine(company_id="c", company_name=bad, billable_users=1)


@pytest.mark.parametrize("name", ["Blå Æble & Søn", "株式会社\u3000例", "A\u00a0B", "\u06cc\u200c\u062e", "👩‍💻 GmbH"])
def test_a_name_may_be_in_any_language(name: str) -> None:
    """A push is not refused because of how a customer spells its name."""
    assert PushLine(company_id="c", company_name=name, billable_users=1).company_name == name


def test_a_correlation_id_fits_into_amqp() -> None:
    """A correlation id too long for its AMQP property is refused when the message is made, not when it is sent."""
    with pytest.raises(ValidationError, match="63 characters"):
        _mapping(correlation_id="界" * 100)


def test_a_field_that_is_not_declared_is_an_error_for_its_writer() -> None:
    """A misspelt optional field is found at once instead of being dropped in silence."""
    with pytest.raises(ValidationError, match="mapping_changed"):
        PushLine(company_id="c", company_name="A", billable_users=1, mapping_changed=LONG_AGO)  # type: ignore[call-arg]


def test_a_message_cannot_be_changed() -> None:
    """A message is sent as it was checked."""
    with pytest.raises(ValidationError, match="frozen"):
        _mapping().partner_id = "msp-2"  # type: ignore[misc]


def test_an_error_does_not_show_what_was_refused() -> None:
    """The text of an error can be logged: it holds no input."""
    with pytest.raises(ValidationError) as caught:
        ConnectionChanged.model_validate({**ENVELOPE, "changed_at": LONG_AGO, "public_key": "  secret  "})
    assert "secret" not in str(caught.value)


def test_times_are_kept_in_utc_to_the_microsecond() -> None:
    """A time in any zone is written as UTC with Z."""
    here = LONG_AGO.astimezone(timezone(timedelta(hours=5, minutes=30)))
    message = _push(requested_at=here)
    assert message.requested_at.tzinfo is UTC
    assert '"requested_at":"2026-01-02T03:04:05.678901Z"' in message.model_dump_json()


@pytest.mark.parametrize(
    "bad",
    [
        LONG_AGO.replace(tzinfo=None),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
        1767225600,
        "2026-01-01T00:00:00Z",
    ],
)
def test_a_time_is_an_aware_datetime(bad: object) -> None:
    """A naive time, a number, and a time that UTC cannot hold are refused."""
    with pytest.raises(ValidationError):
        _push(requested_at=bad)


def test_a_version_is_at_most_five_minutes_ahead() -> None:
    """A sender whose clock is far ahead cannot outrank every later change."""
    content = _mapping().model_dump() | {"changed_at": LONG_AGO + timedelta(minutes=5)}
    assert MappingChanged.model_validate(content, context={"now": LONG_AGO})
    with pytest.raises(ValidationError, match="5 minutes"):
        MappingChanged.model_validate(content, context={"now": LONG_AGO - timedelta(seconds=1)})


def test_a_version_is_not_judged_by_the_clock_of_who_makes_it() -> None:
    """A message names versions of other machines, and a worker makes requests anew from its tables: both accepted."""
    ahead = datetime.now(UTC) + timedelta(hours=1)
    line = PushLine(company_id="c", company_name="A", billable_users=1, mapping_changed_at=ahead)
    assert _push(requested_at=ahead, lines=[line]).requested_at == ahead


@pytest.mark.parametrize(
    ("start", "end", "key"),
    [
        (date(2026, 11, 1), date(2026, 11, 30), "2026-11"),
        (date(2028, 2, 1), date(2028, 2, 29), "2028-02"),
        (date(2026, 2, 1), date(2026, 2, 27), "2026-02-01/2026-02-27"),
        (date(2026, 11, 15), date(2026, 12, 14), "2026-11-15/2026-12-14"),
        (date(2026, 11, 5), date(2026, 11, 5), "2026-11-05/2026-11-05"),
    ],
)
def test_a_period_is_named_by_its_month_or_its_days(start: date, end: date, key: str) -> None:
    """The key of a period is what an operator types, and reads back as the same period."""
    period = BillingPeriod(start=start, end=end)
    assert period.key == str(period) == key
    assert BillingPeriod.parse(key) == period


@given(start=st.dates(), days=st.integers(0, 365))
def test_every_period_can_be_read_back_from_its_key(start: date, days: int) -> None:
    """No two periods share a key."""
    end = date.fromordinal(min(start.toordinal() + days, date.max.toordinal()))
    period = BillingPeriod(start=start, end=end)
    assert BillingPeriod.parse(period.key) == period


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("november", "write a month"),
        ("2026-13", "month must be in 1..12"),
        ("2026-11-15", "write a month"),
        ("20261115/20261214", "write a month"),
        ("2026-12-14/2026-11-15", "ends before it starts"),
        ("2026-01-01/2027-01-02", "longer than 366 days"),
        ("2026-11-31/2026-12-01", "day"),
    ],
)
def test_a_period_that_cannot_be_says_why(text: str, says: str) -> None:
    """An operator who mistypes a period is told what is wrong with it."""
    with pytest.raises(ValueError, match=says) as caught:
        BillingPeriod.parse(text)
    assert text in str(caught.value)


def test_a_derived_id_depends_on_its_parts_alone() -> None:
    """Two workers that complete the same push write the same id, in the form of any other."""
    made = derived_id(LONG_AGO, "p-1", "0")
    assert made == derived_id(LONG_AGO, "p-1", "0")
    assert made not in {derived_id(LONG_AGO, "p-1", "1"), derived_id(LONG_AGO, "p-10", "")}
    assert derived_id(datetime.min.replace(tzinfo=UTC), "p-1", "0").version == 7
    assert (made.version, made.variant) == (7, UUID(int=0x8000 << 48).variant)
    assert _result(id=made).id == made


def test_text_from_outside_is_made_to_fit() -> None:
    """ConnectWise's own words, with line breaks and at any length, can be put into a problem."""
    assert plain_text("first\r\nsecond\0\ud800") == "first second"
    assert len(plain_text("x" * 3000)) == 2000
    assert plain_text("x" * 300, 256).endswith("x…")
