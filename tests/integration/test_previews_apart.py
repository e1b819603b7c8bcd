"""The answers of previews are kept apart from what pushes have done."""

from typing import Any

from sqlalchemy import text

from messages import PushRequested
from store import Database, line_results, now
from store.migrate import upgrade
from store.recorded_results import read_result
from tests.support.earlier_version import migrate, stored
from tests.support.samples import PARTNER, minute, push, sync_result
from tests.support.store import accept


def _answered(database: Database, event: PushRequested, status: Any) -> None:
    accept(database, event, at=minute(0))
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), [sync_result(event, "c-1", status, mode=event.mode)])


def test_a_preview_of_other_counts_is_nothing_to_confirm(database: Database) -> None:
    """`--confirm` lets through what a push held, whatever other counts were tried since."""
    held = push("p-1", {"c-1": 95})
    _answered(database, held, "held")
    for number, (users, status) in enumerate(((950, "held"), (5, "preview"))):
        _answered(database, push(f"tried-{number}", {"c-1": users}, mode="preview", at=1), status)
    with database.begin() as tx:
        (last,) = line_results.newest_of_period(tx, PARTNER, "2025-11", {"c-1": 95})
        (tried,) = line_results.newest_of_period(tx, PARTNER, "2025-11", {"c-1": 950})
    assert (last.push_id, tried.push_id) == ("p-1", "tried-0")


def test_an_upgrade_takes_previews_out_of_sync_status(empty_database: Database) -> None:
    """A row that a preview had hidden is shown again after the upgrade, and results said again name their mode."""
    older, newer = push("p-1", month="2025-10"), push("p-2", at=1)
    with empty_database.begin() as tx:
        migrate(tx, "0007")
        stored(tx, older, "updated", shown=False)
        stored(tx, newer, "failed", shown=False)
        stored(tx, push("tried", month="2026-10", mode="preview", at=2), "held", shown=True)
    upgrade(empty_database)
    with empty_database.begin() as tx:
        (row,) = tx.execute(text("SELECT push_id, status, requested_at FROM company_status")).all()
        told = tx.execute(text("SELECT push_id, result_json FROM push_lines")).all()
    assert (row[0], row[1]) == ("p-2", "failed")
    assert str(row[2])[:16] == "2025-11-22 10:01"
    assert {name: read_result(result).mode for name, result in told} == {
        "p-1": "apply",
        "p-2": "apply",
        "tried": "preview",
    }
