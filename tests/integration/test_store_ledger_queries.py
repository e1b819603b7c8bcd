"""Looking into the ledger: what is found, in which order, and what of it is left of pushes that were removed."""

from dataclasses import replace

import pytest
from sqlalchemy import delete, update

from store import Database, ledger, ledger_queries, now
from store.database import Tx
from store.ledger import Closing, LedgerEntry
from store.ledger_queries import LedgerFilter
from store.retention import NO_NAME
from store.schema import pushes
from tests.support.samples import NOVEMBER, OCTOBER, PARTNER, TENANT, push
from tests.support.store import accept

ENTRY = LedgerEntry(
    addition=(7, 11),
    push_id="p-1",
    period_key=NOVEMBER.key,
    period_start=NOVEMBER.start,
    period_end=NOVEMBER.end,
    company_ids=("c-1", "c-2"),
    quantity_before=4.5,
    quantity_wanted=42.0,
)


def _write(tx: Tx, *entries: LedgerEntry) -> None:
    """Write these one after the other."""
    for entry in entries:
        opened = ledger.open_entries(tx, PARTNER, TENANT, [entry], [75.0])[entry.addition]
        ledger.close(tx, [Closing(opened.id, "written", entry.quantity_wanted, 200)])


def _wanted(database: Database, which: LedgerFilter) -> list[float]:
    """The quantities found, the oldest first, both ways."""
    found = [write.quantity_wanted for write in ledger_queries.oldest_first(database, which)]
    with database.begin() as tx:
        newest = [write.quantity_wanted for write in ledger_queries.newest(tx, which, 100)]
    assert found == newest[::-1]
    return found


@pytest.fixture
def written(database: Database) -> Database:
    """Writes 1 to 4 of two pushes and periods; companies whose ids look alike."""
    october = replace(ENTRY, period_key=OCTOBER.key, period_start=OCTOBER.start, period_end=OCTOBER.end)
    with database.partner(PARTNER) as tx:
        _write(
            tx,
            replace(october, quantity_wanted=1.0),
            replace(ENTRY, quantity_wanted=2.0, company_ids=("C-1",)),
            replace(ENTRY, quantity_wanted=3.0, company_ids=("é%_", "c-10"), push_id="p-2"),
            replace(ENTRY, quantity_wanted=4.0, company_ids=("c-1",), push_id="p-2"),
        )
    return database


@pytest.mark.parametrize("at_once", [1, 2, 4, 1000])
def test_what_is_asked_for_is_found(written: Database, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """By partner, push, period and company, whose id is taken literally; however the rows are read."""
    monkeypatch.setattr(ledger_queries, "ROWS_AT_ONCE", at_once)
    assert _wanted(written, LedgerFilter(PARTNER)) == [1, 2, 3, 4]
    assert _wanted(written, LedgerFilter("another")) == []
    assert _wanted(written, LedgerFilter(PARTNER, push_id="p-2")) == [3, 4]
    assert _wanted(written, LedgerFilter(PARTNER, period_key=OCTOBER.key)) == [1]
    assert _wanted(written, LedgerFilter(PARTNER, company_id="c-1")) == [1, 4]
    assert _wanted(written, LedgerFilter(PARTNER, company_id="c-2")) == [1]
    assert _wanted(written, LedgerFilter(PARTNER, company_id="é%_")) == [3]
    assert _wanted(written, LedgerFilter(PARTNER, company_id="%")) == []
    assert _wanted(written, LedgerFilter(PARTNER, push_id="p-2", company_id="c-1")) == [4]
    with written.begin() as tx:
        later = LedgerFilter(PARTNER, since=now(tx))
        assert [write.quantity_wanted for write in ledger_queries.newest(tx, LedgerFilter(PARTNER), 2)] == [4, 3]
    assert _wanted(written, later) == []


def test_who_wanted_it_is_the_pushs(written: Database) -> None:
    """A name that was removed with its time is not there any more; nor is that of a push that was."""
    accept(written, push("p-1"))
    which = LedgerFilter(PARTNER, push_id="p-1")
    names = []
    for change in (None, update(pushes).values(requested_by=NO_NAME), delete(pushes)):
        with written.begin() as tx:
            if change is not None:
                tx.exec_driver_sql("DELETE FROM syncs")
                tx.execute(change)
            names += [(write.requested_by, write.kind) for write in ledger_queries.newest(tx, which, 1)]
    assert names == [("ana@msp-1.example", "apply"), (None, "apply"), (None, None)]


def test_a_write_that_is_under_way_is_shown(database: Database) -> None:
    """Its end is not known; what it is about to overwrite is."""
    with database.partner(PARTNER) as tx:
        ledger.open_entries(tx, PARTNER, TENANT, [ENTRY], [75.0])
    (write,) = ledger_queries.oldest_first(database, LedgerFilter(PARTNER))
    assert (write.quantity_before, write.quantity_after, write.outcome, write.closed_at) == (4.5, None, None, None)
    assert (write.tenant, write.agreement_id, write.addition_id) == (TENANT, 7, 11)
