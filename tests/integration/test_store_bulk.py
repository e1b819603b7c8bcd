"""Many rows at once are stored as they are one by one, on both databases."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Date, Float, Integer, MetaData, String, Table, select

from store import Database
from store.any_of import any_of, any_pair
from store.bulk import FEW, Upsert, insert_many, update_many, upsert_many
from store.schema import UtcTime, ledger, mappings
from tests.support.samples import PARTNER

MANY = FEW + 5
AT = datetime(2026, 11, 3, 4, 5, 6, 789_012, tzinfo=timezone(timedelta(hours=-7)))
NAME = 'c-\u00e4\U0001f600 "quoted" \\ / \u2028'
KEY = ("partner", "name")

table = Table(
    "things",
    MetaData(),
    Column("partner", String(10), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("day", Date),
    Column("at", UtcTime),
    Column("other_at", UtcTime),
    Column("quantity", Float),
    Column("is_new", Boolean),
    Column("attempts", Integer),
)


@pytest.fixture(autouse=True)
def _made(database: Database) -> Iterator[None]:
    """Make the table for the length of a test."""
    with database.begin() as tx:
        table.create(tx)
    yield
    with database.begin() as tx:
        table.drop(tx)


def rows(number: int, **changed: Any) -> list[dict[str, Any]]:
    """So many rows."""
    row = {"partner": PARTNER, "day": date(2026, 11, 1), "at": AT, "other_at": None, "quantity": 0.1, "is_new": True}
    return [{**row, "name": f"{NAME} {n:02}", "attempts": 2**31 - 1, **changed} for n in range(number)]


def stored(database: Database) -> list[dict[str, Any]]:
    """The rows by name."""
    with database.begin() as tx:
        return [dict(row) for row in tx.execute(select(table).order_by(table.c.name)).mappings()]


@pytest.mark.parametrize("number", [FEW, MANY], ids=["one by one", "at once"])
def test_rows_are_stored_as_given(database: Database, number: int) -> None:
    """Names, days, moments and nothing come back as they were, however many rows are stored together."""
    with database.begin() as tx:
        insert_many(tx, table, rows(number))
    found = stored(database)
    assert found == rows(number)
    assert found[0]["at"].tzinfo is UTC


def test_moments_compare_however_their_rows_were_stored(database: Database) -> None:
    """Work that is due is found, be it stored with few others or with many."""
    with database.begin() as tx:
        insert_many(tx, table, rows(1, partner="few"))
        insert_many(tx, table, rows(MANY))
        same = tx.execute(select(table.c.partner).where(table.c.at == AT)).all()
        later = tx.execute(select(table.c.partner).where(table.c.at > AT)).all()
    assert (len(same), later) == (MANY + 1, [])


@pytest.mark.parametrize("number", [FEW, MANY], ids=["one by one", "at once"])
def test_updates_reach_their_rows_only(database: Database, number: int) -> None:
    """Each row gets its own values; a row that is not named stays."""
    with database.begin() as tx:
        insert_many(tx, table, rows(number + 1))
        update_many(
            tx,
            table,
            KEY,
            [
                {name: row[name] for name in KEY} | {"attempts": place, "other_at": AT}
                for place, row in enumerate(rows(number))
            ],
        )
    found = stored(database)
    assert [row["attempts"] for row in found] == [*range(number), 2**31 - 1]
    assert [row["other_at"] for row in found] == [AT] * number + [None]


def _keep_known(statement: Upsert, _names: object) -> Upsert:
    return statement.on_conflict_do_update(
        index_elements=KEY, set_={"attempts": statement.excluded.attempts}, where=table.c.attempts < 3
    )


@pytest.mark.parametrize("number", [FEW, MANY], ids=["one by one", "at once"])
def test_known_rows_are_changed_and_others_added(database: Database, number: int) -> None:
    """An upsert of many follows the same condition as that of one."""
    with database.begin() as tx:
        insert_many(tx, table, [*rows(1, attempts=1), *rows(2, attempts=5)[1:]])
        upsert_many(tx, table, rows(number, attempts=2), _keep_known)
    assert [row["attempts"] for row in stored(database)] == [2, 5, *[2] * (number - 2)]


@pytest.mark.parametrize(
    "condition",
    [any_pair((ledger.c.agreement_id, ledger.c.addition_id), "wanted"), any_of(ledger.c.agreement_id, "wanted")],
    ids=["pairs", "values"],
)
def test_sqlite_finds_them_by_an_index(sqlite_url: str, condition: Any) -> None:
    """A partner with years of writes waits no longer for the few that are asked for."""
    query = select(ledger.c.id).where(ledger.c.partner_id == PARTNER, ledger.c.tenant == "t", condition)
    with closing(Database(sqlite_url)) as database, database.begin() as tx:
        text = f"EXPLAIN QUERY PLAN {query.compile(dialect=tx.dialect)}"
        plan = " ".join(row[3] for row in tx.exec_driver_sql(text, (PARTNER, "t", "[]")))
    assert "ix_ledger_addition (partner_id=? AND tenant=? AND agreement_id=?" in plan, plan


def test_pairs_are_matched_as_pairs(database: Database) -> None:
    """An addition of one agreement is not taken for that of another, however many are asked for."""
    query = select(mappings.c.company_id).where(
        any_pair((mappings.c.agreement_id, mappings.c.addition_id), "additions")
    )
    places = [(7, 11), (7, 12), (8, 11), (8, 12)]
    with database.begin() as tx:
        tx.execute(
            mappings.insert(),
            [
                {
                    "partner_id": PARTNER,
                    "company_id": f"{agreement} {addition}",
                    "changed_at": AT,
                    "message_id": "m",
                    "company_name": "Name",
                    "cw_company_id": 1,
                    "agreement_id": agreement,
                    "addition_id": addition,
                    "rule": "refuse",
                }
                for agreement, addition in places
            ],
        )
        found = tx.execute(query, {"additions": [(7, 11), (8, 12), *((9, n) for n in range(3000))]}).scalars()
        assert sorted(found) == ["7 11", "8 12"]
        assert tx.execute(query, {"additions": []}).all() == []
