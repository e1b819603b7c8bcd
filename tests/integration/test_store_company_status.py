"""Sync Status: the newest result of each company, in whatever order results come."""

from collections.abc import Sequence
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages import SyncResult
from store import Database, Tx, company_status
from store.recorded_results import recorded
from tests.support.samples import PARTNER, push, sync_result


def _keep(tx: Tx, results: Sequence[SyncResult]) -> None:
    company_status.keep_newest(tx, [recorded(result) for result in results])


def _results(partner_id: str) -> list[SyncResult]:
    """Oldest first, by (period, requested_at, sequence)."""
    october = push("p-3", partner_id=partner_id, month="2025-10", at=9)
    older = push("p-1", partner_id=partner_id, at=0)
    newer = push("p-2", partner_id=partner_id, at=1)
    return [
        sync_result(october, sequence=7),
        sync_result(older, status="retrying", sequence=1),
        sync_result(older, sequence=2),
        sync_result(newer, status="retrying", sequence=1),
        sync_result(newer, status="failed", sequence=2),
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.sampled_from(range(5)), min_size=1, max_size=8), batch=st.integers(1, 8))
def test_the_newest_result_is_shown_in_any_order(database: Database, order: Sequence[int], batch: int) -> None:
    """The check or the X that the partner sees is that of the newest result, however they are repeated or reordered."""
    partner_id = str(uuid4())
    results = _results(partner_id)
    coming = [results[index] for index in order]
    with database.begin() as tx:
        for start in range(0, len(coming), batch):
            _keep(tx, coming[start : start + batch])
        assert company_status.of_partner(tx, partner_id) == [results[max(order)]]


def test_each_company_of_a_partner_has_its_own_status(database: Database) -> None:
    """A result of one company, or of another partner, changes no other's."""
    event, foreign = push(users={"c-2": 2, "c-1": 1}), push(partner_id="msp-2")
    results = [sync_result(event, "c-2"), sync_result(event, "c-1", "held")]
    with database.begin() as tx:
        _keep(tx, [*results, sync_result(foreign, "c-1")])
        _keep(tx, [])
        assert company_status.of_partner(tx, PARTNER) == [results[1], results[0]]


def test_a_dismissed_row_comes_back_with_the_next_result(database: Database) -> None:
    """A company that a coordinator puts away stays away until there is news, also if old results come again."""
    older, newer = push("p-1", at=0), push("p-2", at=1)
    said = sync_result(older, "c-1", sequence=2)
    with database.begin() as tx:
        _keep(tx, [said])
        assert company_status.dismiss(tx, PARTNER, "c-1")
        assert not company_status.dismiss(tx, PARTNER, "c-1")
        _keep(tx, [said, sync_result(older, "c-1", sequence=1)])
        assert company_status.of_partner(tx, PARTNER) == []
        news = sync_result(newer, "c-1", sequence=1)
        _keep(tx, [news])
        assert company_status.of_partner(tx, PARTNER) == [news]


def test_a_dismissed_row_of_a_mistyped_period_hides_no_later_push(database: Database) -> None:
    """A coordinator who put away a push of the wrong year sees what becomes of the company's next one."""
    mistyped, right = push("p-1", month="2027-10", at=0), push("p-2", month="2025-12", at=1)
    with database.begin() as tx:
        _keep(tx, [sync_result(mistyped, "c-1")])
        assert company_status.dismiss(tx, PARTNER, "c-1")
        news = sync_result(right, "c-1", "failed")
        _keep(tx, [news])
        assert company_status.of_partner(tx, PARTNER) == [news]
