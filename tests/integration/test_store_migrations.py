"""Migrations: what they make is what the program expects."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from store import Database, SchemaOutdated
from store import database as door
from store.database import Tx
from store.migrate import _ADVISORY_LOCK, MIGRATIONS, check, newest_revision, upgrade
from store.schema import metadata
from tests.support.waiting import wait_for


def _by_name(items: Any) -> list[dict[str, Any]]:
    return sorted(
        ({name: _text(value) for name, value in item.items()} for item in items), key=lambda item: item["name"]
    )


def _text(value: Any) -> Any:
    """Types and SQL expressions compare by how they are written."""
    return {name: str(one) for name, one in value.items()} if isinstance(value, dict) else str(value)


def _described(tx: Tx) -> dict[str, Any]:
    """All that the database says of our tables, checks too, which Alembic does not compare."""
    seen = inspect(tx)
    return {
        table: {
            "columns": _by_name(seen.get_columns(table)),
            "primary key": seen.get_pk_constraint(table),
            "foreign keys": _by_name(seen.get_foreign_keys(table)),
            "checks": _by_name(seen.get_check_constraints(table)),
            "unique": _by_name(seen.get_unique_constraints(table)),
            "indexes": _by_name(seen.get_indexes(table)),
        }
        for table in metadata.tables
    }


def test_migrations_make_the_tables_of_the_schema(database: Database, empty_database: Database) -> None:
    """An upgraded installation has exactly the columns, keys, checks and indexes that the code was written for."""
    with empty_database.begin() as tx:
        metadata.create_all(tx)
        expected = _described(tx)
    with database.begin() as tx:
        assert _described(tx) == expected
        assert set(inspect(tx).get_table_names()) == set(metadata.tables) | {"alembic_version"}


def test_no_migration_is_missing(database: Database) -> None:
    """A change of the schema cannot be released without its migration."""
    with database.begin() as tx:
        context = MigrationContext.configure(tx)
        assert compare_metadata(context, metadata) == []


def test_upgrading_again_changes_nothing(database: Database) -> None:
    """Every container may run the upgrade at its start."""
    with database.begin() as tx:
        before = _described(tx)
    upgrade(database)
    check(database)
    with database.begin() as tx:
        assert _described(tx) == before


def test_a_database_without_tables_is_told(empty_database: Database) -> None:
    """A worker that is started before the upgrade says which command is missing."""
    with pytest.raises(SchemaOutdated, match="phin-connectwise db upgrade"):
        check(empty_database)


def test_the_newest_migration_is_known_by_its_file_name() -> None:
    """Every command compares the database with the newest migration, for which it need not load Alembic."""
    assert newest_revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_a_database_of_a_newer_version_is_told(empty_database: Database) -> None:
    """A worker that was not updated with the tables says which version it needs."""
    upgrade(empty_database)
    with empty_database.begin() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaOutdated, match=f"at version 9999, this program needs {newest_revision()}"):
        check(empty_database)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_an_upgrade_waits_for_another_one(
    empty_database: Database, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers that start together all succeed, also if the first one's upgrade takes many lock timeouts."""
    monkeypatch.setattr(door, "LOCK_TIMEOUT", "20ms")
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND query_start < now() - :long")

    def is_waiting() -> bool:
        with empty_database.begin() as tx:
            return bool(tx.execute(waits, {"long": timedelta(seconds=0.2)}).scalar_one())

    with closing(Database(empty_database_url)) as database, ThreadPoolExecutor() as pool:
        with empty_database.begin() as tx:
            tx.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            upgraded = pool.submit(upgrade, database)
            wait_for(is_waiting, "the upgrade to wait for many lock timeouts")
        upgraded.result()
        check(database)
