"""The decision on a line: tables of cases, from what is wanted, what is set up, and what is there.

Long, as the rules of quantities.py are one subject: a case is read beside its neighbours, on the same few values.
"""

from collections.abc import Mapping as Map
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest

from cwclient import Addition
from store.connections import ConnectionVersion
from store.mappings import Mapping
from store.pushes import Restore
from store.targets import Days
from tests.support.samples import NOVEMBER, OCTOBER, TEN, TENANT, connection, disconnect, mapping, minute
from worker.rules import quantities
from worker.rules.billable import Assessment
from worker.rules.problems import problem
from worker.rules.quantities import (
    Answer,
    JumpLimits,
    PartnerSetup,
    Proceed,
    SetQuantity,
    Unchanged,
    Wait,
    WantedLine,
    WriteHistory,
)

DECEMBER = (date(2025, 12, 1), date(2025, 12, 31))
HALF_NOVEMBER = (NOVEMBER.start, date(2025, 11, 15))
NOW = minute(0.5)
USUAL = JumpLimits(jump_share=0.5, jump_count=20)
ANYTHING = JumpLimits(jump_share=0.5, jump_count=1_000_000)
OURS = frozenset({4.0, 5.0})
OTHER = "eu.myconnectwise.net acme"
WANTED = WantedLine(
    company_id="c-1",
    company_name="Acme",
    period=NOVEMBER,
    billable_users=42,
    requested_at=TEN,
    push_id="p-1",
    accepted_at=TEN,
)
WAITED = minute(1)
UNFINISHED = ("skipped", "mapping_unfinished")
UNMAPPED = mapping(cw_company_id=None, agreement_id=None, addition_id=None)


def _settings(connected: ConnectionVersion | None, mapped: Mapping | None, *earlier: ConnectionVersion) -> PartnerSetup:
    history = [*earlier, connected] if connected else list(earlier)
    return PartnerSetup(
        connection=connected,
        tenants=[(version.changed_at, version.tenant) for version in history],
        mappings={} if mapped is None else {"c-1": mapped},
    )


def _said(outcome: object) -> object:
    return (outcome.status, outcome.problem.code) if isinstance(outcome, Answer) else outcome


@pytest.mark.parametrize(
    ("changes", "settings", "now", "outcome"),
    [
        pytest.param({}, _settings(connection(), mapping()), NOW, Proceed((7, 11)), id="mapped"),
        pytest.param({}, _settings(None, mapping()), NOW, ("failed", "not_connected"), id="never connected"),
        pytest.param({}, _settings(disconnect(), mapping()), NOW, ("failed", "not_connected"), id="disconnected"),
        pytest.param({}, _settings(connection(), None), NOW, ("skipped", "unmapped"), id="never mapped"),
        pytest.param({}, _settings(connection(), UNMAPPED), NOW, ("skipped", "unmapped"), id="unmapped again"),
        pytest.param({}, _settings(connection(), mapping(addition_id=None)), NOW, UNFINISHED, id="no addition"),
        pytest.param(
            {},
            _settings(connection(), mapping(agreement_id=None, addition_id=None)),
            NOW,
            UNFINISHED,
            id="no agreement",
        ),
        pytest.param(
            {},
            _settings(connection(at=2), mapping(at=1), connection(at=0, tenant=OTHER)),
            NOW,
            ("skipped", "map_again"),
            id="mapped under another tenant",
        ),
        pytest.param(
            {}, _settings(connection(at=2), mapping(at=1)), NOW, ("skipped", "map_again"), id="mapped before any tenant"
        ),
        pytest.param(
            {},
            _settings(connection(at=2), mapping(at=1), connection(at=0), disconnect(at=0.5)),
            NOW,
            Proceed((7, 11)),
            id="mapped under this tenant, disconnected between",
        ),
        pytest.param(
            {"mapping_changed_at": minute(2)},
            _settings(connection(), mapping(at=1)),
            NOW,
            Wait(WAITED),
            id="older mapping",
        ),
        pytest.param(
            {"mapping_changed_at": TEN}, _settings(connection(), None), NOW, Wait(WAITED), id="no mapping yet"
        ),
        pytest.param(
            {"mapping_changed_at": TEN},
            _settings(connection(), None),
            WAITED,
            ("failed", "mapping_not_received"),
            id="no mapping in a minute",
        ),
        pytest.param(
            {"mapping_changed_at": minute(1)},
            _settings(connection(), mapping(at=1)),
            NOW,
            Proceed((7, 11)),
            id="the mapping seen",
        ),
        pytest.param(
            {"mapping_changed_at": TEN},
            _settings(connection(), mapping(at=1)),
            NOW,
            Proceed((7, 11)),
            id="a newer mapping",
        ),
        pytest.param(
            {"connection_changed_at": TEN}, _settings(None, mapping()), NOW, Wait(WAITED), id="no connection yet"
        ),
        pytest.param(
            {"connection_changed_at": minute(3)},
            _settings(disconnect(at=2), mapping()),
            NOW,
            Wait(WAITED),
            id="disconnected before the connection seen",
        ),
        pytest.param(
            {"connection_changed_at": TEN},
            _settings(None, mapping()),
            WAITED,
            ("failed", "connection_not_received"),
            id="no connection in a minute",
        ),
        pytest.param(
            {"connection_changed_at": minute(1)},
            _settings(disconnect(at=2), mapping()),
            NOW,
            ("failed", "not_connected"),
            id="disconnected after the connection seen",
        ),
    ],
)
def test_whether_a_line_may_go(changes: dict[str, Any], settings: PartnerSetup, now: datetime, outcome: object) -> None:
    """A line goes to ConnectWise only with the settings it was made under, waits for them, or says what is missing."""
    assert _said(quantities.find_addition(replace(WANTED, **changes), settings, now)) == outcome


@pytest.mark.parametrize(
    ("users", "minimum", "quantity"), [(5, None, 5), (5, 10, 10), (15, 10, 15), (0, 0, 0), (0, 3, 3)]
)
def test_a_minimum_is_billed_at_least(users: int, minimum: int | None, quantity: int) -> None:
    """A company with fewer users than agreed is billed the agreed minimum."""
    assert quantities.company_quantity(mapping(minimum=minimum), users) == quantity


def _sharing(*rules: str, minimum: int | None = None) -> list[Mapping]:
    return [mapping(f"c-{number}", rule=rule, minimum=minimum) for number, rule in enumerate(rules, 1)]


@pytest.mark.parametrize(
    ("sharing", "counts", "outcome"),
    [
        (_sharing("sum", "sum"), {"c-1": 4, "c-2": 5}, 9),
        (_sharing("sum", "sum", minimum=10), {"c-1": 4, "c-2": 15}, 25),
        (_sharing("sum", "sum"), {"c-1": 4, "c-2": 0}, 4),
        (_sharing("sum", "sum"), {"c-1": 4}, ("held", "group_incomplete")),
        (_sharing("sum", "refuse"), {"c-1": 4, "c-2": 5}, ("failed", "shared_addition")),
        (_sharing("refuse", "refuse"), {"c-1": 4}, ("failed", "shared_addition")),
    ],
)
def test_a_shared_addition_is_summed_or_refused(sharing: list[Mapping], counts: Map[str, int], outcome: object) -> None:
    """Companies on one addition are summed if all of them say so and are pushed, and never overwrite each other."""
    assert _said(quantities.shared_quantity(sharing, counts)) == outcome


def test_a_shared_addition_names_the_companies() -> None:
    """The coordinator reads which companies share it, and which of them are missing."""
    refused = quantities.shared_quantity(_sharing("refuse", "sum"), {})
    incomplete = quantities.shared_quantity(_sharing("sum", "sum"), {"c-1": 1})
    assert isinstance(refused, Answer)
    assert isinstance(incomplete, Answer)
    assert "C-1, C-2" in refused.problem.detail
    assert "C-2" in incomplete.problem.detail
    assert "C-1" not in incomplete.problem.detail


def _addition(**changes: Any) -> Addition:
    fields: dict[str, Any] = {
        "id": 11,
        "agreement_id": 7,
        "quantity": 4.0,
        "bill_customer": "Billable",
        "effective_date": minute(-60),
        "agreement_status": "Active",
        "addition_status": "Active",
    }
    return Addition(**fields | changes)


ALL_DAYS = Assessment()
SOME_DAYS = Assessment(unbilled_days=(problem("addition_cancelled", since=date(2025, 11, 20)),))
NO_DAY = replace(SOME_DAYS, no_day_billed=True)
REFUSED = Assessment(refused=problem("addition_elsewhere"))


def _confirmed(reason: str, before: float) -> dict[str, Any]:
    return {"company_id": "c-1", "reasons": [reason], "quantity_before": before}


@pytest.mark.parametrize(
    ("actual", "quantity", "newest_period", "confirmation", "outcome"),
    [
        pytest.param({}, 42, None, None, SetQuantity(42), id="another quantity"),
        pytest.param({"quantity": 42.0}, 42, None, None, Unchanged(), id="the same quantity"),
        pytest.param({"quantity": 42.5}, 42, None, None, SetQuantity(42), id="a fraction more"),
        pytest.param({"quantity": None}, 0, None, None, SetQuantity(0), id="no quantity yet"),
        pytest.param({"quantity": 0.0}, 0, None, None, Unchanged(), id="zero already"),
        pytest.param({}, 42, (NOVEMBER.start, NOVEMBER.end), None, SetQuantity(42), id="the same period again"),
        pytest.param({}, 42, (OCTOBER.start, OCTOBER.end), None, SetQuantity(42), id="a newer period"),
        pytest.param({}, 42, DECEMBER, None, ("held", "older_period"), id="an older period"),
        pytest.param({}, 42, HALF_NOVEMBER, None, SetQuantity(42), id="the same start, a later end"),
        pytest.param({"quantity": 42.0}, 42, DECEMBER, None, Unchanged(), id="an older period, nothing to write"),
        pytest.param({}, 42, DECEMBER, _confirmed("older_period", 4), SetQuantity(42), id="an older period, confirmed"),
        pytest.param(
            {},
            42,
            DECEMBER,
            _confirmed("older_period", 5),
            ("held", "older_period"),
            id="confirmed at another value",
        ),
        pytest.param(
            {},
            42,
            DECEMBER,
            _confirmed("big_jump", 4),
            ("held", "older_period"),
            id="confirmed for another reason",
        ),
        pytest.param(
            {"quantity": None},
            42,
            DECEMBER,
            _confirmed("older_period", 0),
            SetQuantity(42),
            id="no quantity is confirmed as zero",
        ),
    ],
)
def test_what_is_done_with_an_addition(
    actual: dict[str, Any],
    quantity: int,
    newest_period: Days | None,
    confirmation: Map[str, Any] | None,
    outcome: object,
) -> None:
    """Only a quantity that differs is written, an older period over a newer one only if confirmed for this value."""
    decided = quantities.decide(
        _addition(**actual),
        assessment=ALL_DAYS,
        quantity=quantity,
        period=NOVEMBER,
        written=WriteHistory(newest_period=newest_period),
        confirmations=[] if confirmation is None else [confirmation],
        jump_limits=ANYTHING,
    )
    assert _said(decided) == outcome


@pytest.mark.parametrize(
    ("actual", "quantity", "written", "reasons"),
    [
        pytest.param({"quantity": 40.0}, 61, WriteHistory(), ["big_jump"], id="more than half and than 20 up"),
        pytest.param({"quantity": 42.0}, 20, WriteHistory(), ["big_jump"], id="more than half and than 20 down"),
        pytest.param({"quantity": 40.0}, 60, WriteHistory(), [], id="just half"),
        pytest.param({"quantity": 4.0}, 24, WriteHistory(), [], id="just 20"),
        pytest.param({"quantity": 4.0}, 25, WriteHistory(), ["big_jump"], id="a small company that grows by 21"),
        pytest.param({"quantity": 1000.0}, 1400, WriteHistory(), [], id="many, but no great share"),
        pytest.param({"quantity": None}, 21, WriteHistory(), ["big_jump"], id="from nothing to 21"),
        pytest.param({"quantity": 4.0}, 0, WriteHistory(), ["zero"], id="none any more"),
        pytest.param({"quantity": 100.0}, 0, WriteHistory(), ["zero"], id="none any more is no big jump besides"),
        pytest.param({"quantity": None}, 0, WriteHistory(), [], id="none, as before"),
        pytest.param(
            {"quantity": 12.0, "less_included": 10.0}, 10, WriteHistory(), ["below_included"], id="all included"
        ),
        pytest.param({"quantity": 9.0, "less_included": 10.0}, 8, WriteHistory(), [], id="included as before"),
        pytest.param({"quantity": 12.0, "less_included": 10.0}, 0, WriteHistory(), ["zero"], id="none, and included"),
        pytest.param(
            {"quantity": 7.0}, 9, WriteHistory(quantities=OURS, last=5.0), ["changed_elsewhere"], id="not ours"
        ),
        pytest.param({"quantity": 4.0}, 9, WriteHistory(quantities=OURS, last=5.0), [], id="ours of an earlier push"),
        pytest.param({"quantity": 7.0}, 9, WriteHistory(quantities=OURS), [], id="we may have written, but never did"),
        pytest.param(
            {"quantity": 70.0},
            5,
            WriteHistory(newest_period=DECEMBER, quantities=OURS, last=5.0),
            ["older_period", "changed_elsewhere", "big_jump"],
            id="several at once",
        ),
    ],
)
def test_what_is_unusual_is_held_until_it_is_confirmed(
    actual: dict[str, Any], quantity: int, written: WriteHistory, reasons: list[str]
) -> None:
    """Each unusual change is named; only a confirmation of all reasons, for this value before, lets it through."""

    def decided(*confirmations: Map[str, Any]) -> object:
        return quantities.decide(
            _addition(**actual),
            assessment=ALL_DAYS,
            quantity=quantity,
            period=NOVEMBER,
            written=written,
            confirmations=confirmations,
            jump_limits=USUAL,
        )

    answer = decided()
    if not reasons:
        assert answer == SetQuantity(quantity)
        return
    assert isinstance(answer, Answer)
    assert [reason.code for reason in answer.reasons] == reasons
    assert set(reasons) <= quantities.CONFIRMABLE
    before = actual["quantity"] or 0
    assert decided({"reasons": reasons, "quantity_before": before}) == SetQuantity(quantity)
    assert decided(*(_confirmed(reason, before) for reason in reasons)) == SetQuantity(quantity)
    assert decided({"reasons": reasons, "quantity_before": before + 1}) == answer
    left = decided({"reasons": reasons[1:], "quantity_before": before})
    assert isinstance(left, Answer)
    assert [reason.code for reason in left.reasons] == reasons[:1]


@pytest.mark.parametrize(
    ("next_invoice", "codes"),
    [
        ("2025-12-01T00:00:00Z", []),
        ("2025-12-02", ["maybe_invoiced"]),
        ("2026-01-01T00:00:00Z", ["maybe_invoiced"]),
        ("", []),
        ("next month", []),
    ],
)
def test_a_preview_warns_of_a_period_that_may_be_invoiced(next_invoice: str, codes: list[str]) -> None:
    """An invoiced period changes no more, so the coordinator is told before the push; odd dates say nothing."""
    assert [problem.code for problem in quantities.warnings(next_invoice, NOVEMBER)] == codes


RESTORE = Restore(TENANT, (7, 12), quantity=4.5, holds=42.0)


@pytest.mark.parametrize(
    ("connected", "mapped", "outcome"),
    [
        pytest.param(connection(), mapping(), Proceed((7, 12)), id="the addition that was written, not the mapped one"),
        pytest.param(connection(), None, Proceed((7, 12)), id="not mapped any more"),
        pytest.param(connection(tenant=OTHER), mapping(), ("failed", "other_connectwise"), id="another tenant"),
        pytest.param(disconnect(), mapping(), ("failed", "not_connected"), id="disconnected"),
    ],
)
def test_a_revert_goes_by_what_was_written(
    connected: ConnectionVersion, mapped: Mapping | None, outcome: object
) -> None:
    """A revert reaches the addition that the push wrote to, under the tenant that it was written to, or none."""
    assert (
        _said(quantities.find_addition(replace(WANTED, restore=RESTORE), _settings(connected, mapped), NOW)) == outcome
    )


@pytest.mark.parametrize(
    ("assessment", "quantity", "confirmation", "outcome"),
    [
        pytest.param(REFUSED, 42, None, ("failed", "addition_elsewhere"), id="refused"),
        pytest.param(REFUSED, 4, None, ("failed", "addition_elsewhere"), id="refused, nothing to write"),
        pytest.param(
            REFUSED, 42, _confirmed("addition_elsewhere", 4), ("failed", "addition_elsewhere"), id="never confirmed"
        ),
        pytest.param(SOME_DAYS, 42, None, ("held", "addition_cancelled"), id="some days are not billed"),
        pytest.param(SOME_DAYS, 42, _confirmed("addition_cancelled", 4), SetQuantity(42), id="some days, confirmed"),
        pytest.param(SOME_DAYS, 4, None, Unchanged(), id="some days, nothing to write"),
        pytest.param(NO_DAY, 42, None, ("held", "addition_cancelled"), id="no day is billed"),
        pytest.param(NO_DAY, 4, None, ("held", "addition_cancelled"), id="no day, nothing to write"),
        pytest.param(NO_DAY, 4, _confirmed("addition_cancelled", 4), Unchanged(), id="no day, confirmed as it is"),
    ],
)
def test_what_is_not_billed_for_the_period_is_held(
    assessment: Assessment, quantity: int, confirmation: Map[str, Any] | None, outcome: object
) -> None:
    """Days that are not billed are confirmed or nothing is written; what is refused cannot be confirmed."""
    decided = quantities.decide(
        _addition(),
        assessment=assessment,
        quantity=quantity,
        period=NOVEMBER,
        written=WriteHistory(),
        confirmations=[] if confirmation is None else [confirmation],
        jump_limits=ANYTHING,
    )
    assert _said(decided) == outcome


@pytest.mark.parametrize(
    ("quantity", "assessment", "outcome"),
    [
        pytest.param(42.0, ALL_DAYS, SetQuantity(4.5), id="still ours"),
        pytest.param(42.0, SOME_DAYS, SetQuantity(4.5), id="still ours, billed for a part of the period"),
        pytest.param(4.5, ALL_DAYS, Unchanged(), id="the former quantity already"),
        pytest.param(4.0, ALL_DAYS, ("failed", "changed_since"), id="nearly the former quantity"),
        pytest.param(42.5, ALL_DAYS, ("failed", "changed_since"), id="nearly ours"),
        pytest.param(None, ALL_DAYS, ("failed", "changed_since"), id="emptied"),
        pytest.param(42.0, NO_DAY, SetQuantity(4.5), id="still ours, billed for no day of the period"),
        pytest.param(42.0, REFUSED, ("failed", "addition_elsewhere"), id="refused"),
        pytest.param(4.5, NO_DAY, Unchanged(), id="cancelled, nothing to write"),
        pytest.param(9.0, NO_DAY, ("failed", "changed_since"), id="cancelled and changed"),
    ],
)
def test_a_revert_writes_only_over_what_the_push_wrote(
    quantity: float | None, assessment: Assessment, outcome: object
) -> None:
    """A quantity that anybody has set since stays, and is named."""
    decided = quantities.decide_revert(_addition(quantity=quantity), assessment=assessment, holds={42.0}, restore=4.5)
    assert _said(decided) == outcome
