"""The rules that every message obeys, whoever makes it."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from messages import (
    FINAL,
    BillingPeriod,
    CatalogRequested,
    ConnectionChanged,
    LineCounts,
    MappingChanged,
    Problem,
    PushCompleted,
    PushLine,
    PushRequested,
    SealedPrivateKey,
    SyncResult,
)

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENVELOPE: dict[str, Any] = {"partner_id": "msp-1", "correlation_id": "q-1"}
NOVEMBER = BillingPeriod(start=date(2026, 11, 1), end=date(2026, 11, 30))
PROBLEM = Problem(code="not_kept", title="Not kept", detail="Another quantity came back.", fix="Look at the addition.")


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


def test_a_company_is_once_in_a_push() -> None:
    """A company with two counts is refused, and the error tells which and where."""
    lines = [PushLine(company_id=f"c-{n % 2}", company_name="A", billable_users=n) for n in range(3)]
    with pytest.raises(ValidationError, match=r"company 'c-0' is there twice: at 0 and 2"):
        _push(lines=lines)


@pytest.mark.parametrize("count", [0, 10_001])
def test_a_push_has_1_to_10000_lines(count: int) -> None:
    """An empty push and an oversized one are refused."""
    with pytest.raises(ValidationError):
        _push(lines=[PushLine(company_id=f"c-{n}", company_name="A", billable_users=1) for n in range(count)])


@pytest.mark.parametrize("ids", [{"agreement_id": 1}, {"cw_company_id": 1, "addition_id": 3}, {"addition_id": 3}])
def test_a_mapping_is_filled_in_from_left_to_right(ids: dict[str, int]) -> None:
    """An addition without its agreement, or an agreement without its company, is refused."""
    with pytest.raises(ValidationError, match="needs its"):
        _mapping(**ids)


@pytest.mark.parametrize("ids", [{}, {"cw_company_id": 1}, {"cw_company_id": 1, "agreement_id": 2}])
def test_an_unfinished_mapping_is_a_mapping(ids: dict[str, int]) -> None:
    """Every selection in the portal can be saved at once."""
    assert _mapping(**ids).rule == "refuse"


@pytest.mark.parametrize("bad", [0, -1, 2**31, "7", True])
def test_a_connectwise_id_is_a_positive_integer(bad: object) -> None:
    """An id that ConnectWise cannot have is refused."""
    with pytest.raises(ValidationError):
        _mapping(cw_company_id=bad)


CONNECTION: dict[str, Any] = {
    **ENVELOPE,
    "changed_at": LONG_AGO,
    "site_url": "https://na.myconnectwise.net",
    "company_identifier": "acme",
    "public_key": "pub",
    "sealed_private_key": SealedPrivateKey(key_id="0" * 16, box="AAAA"),
}


@pytest.mark.parametrize("absent", ["site_url", "company_identifier", "public_key", "sealed_private_key"])
def test_a_connection_is_complete(absent: str) -> None:
    """Half a connection is refused."""
    with pytest.raises(ValidationError, match="a connection needs"):
        ConnectionChanged(**CONNECTION | {absent: None})


def test_a_disconnection_carries_nothing() -> None:
    """A tombstone holds no keys."""
    with pytest.raises(ValidationError, match="carries no"):
        ConnectionChanged(**CONNECTION, disconnected=True)
    assert ConnectionChanged(**ENVELOPE, changed_at=LONG_AGO, disconnected=True).site_url is None


@pytest.mark.parametrize(
    "bad",
    [
        "not PEM",
        "-----BEGIN CERTIFICATE-----\nx\n-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----" + "x" * 64 * 1024,
        "-----BEGIN CERTIFICATE-----\0",
    ],
)
def test_a_ca_bundle_holds_only_certificates(bad: str) -> None:
    """A private key pasted among the certificates does not reach a queue."""
    with pytest.raises(ValidationError):
        ConnectionChanged(**CONNECTION, ca_bundle=bad)


@pytest.mark.parametrize(
    "bad", ["connectwise.push-requested.v1", "phin.", "amq.direct", "phin.a b", "phin." + "x" * 300]
)
def test_an_answer_goes_only_to_the_platforms_queues(bad: str) -> None:
    """A question cannot make the worker write into its own queues."""
    with pytest.raises(ValidationError):
        CatalogRequested(**ENVELOPE, kind="companies", reply_to=bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "agreements"},
        {"kind": "additions", "cw_company_id": 1},
        {"kind": "companies", "companies": [{"company_id": "c", "company_name": "A"}]},
        {"kind": "suggestions", "companies": [{"company_id": "c", "company_name": name} for name in "AB"]},
    ],
)
def test_a_catalog_question_names_what_it_needs(bad: dict[str, Any]) -> None:
    """A question that cannot be answered is refused."""
    with pytest.raises(ValidationError):
        CatalogRequested.model_validate(ENVELOPE | bad)


@pytest.mark.parametrize("status", ["failed", "held", "skipped"])
def test_a_line_that_needs_action_says_which(status: str) -> None:
    """A red X never comes without words."""
    with pytest.raises(ValidationError, match="needs a problem"):
        _result(status=status)
    assert _result(status=status, problem=PROBLEM).problem == PROBLEM


def test_only_retrying_has_a_next_attempt() -> None:
    """The portal can trust that a final line has no next attempt, and a retrying one has."""
    assert _result(status="retrying", next_attempt_at=LONG_AGO).status not in FINAL
    for bad in ({"status": "retrying"}, {"next_attempt_at": LONG_AGO}):
        with pytest.raises(ValidationError, match="next_attempt_at"):
            _result(**bad)


def test_a_refused_push_says_why() -> None:
    """A refusal always carries a problem."""
    with pytest.raises(ValidationError, match="needs a problem"):
        PushCompleted(**ENVELOPE, push_id="p-1", status="refused")


def test_a_completed_push_counts_every_final_status() -> None:
    """No final status is missing in the counts."""
    assert set(LineCounts.model_fields) == FINAL
