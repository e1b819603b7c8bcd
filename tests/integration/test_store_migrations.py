"""Migrations: what they make is what the program expects."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from store import Database, SchemaInUse, SchemaOutdated, workers
from store import database as door
from store.database import Tx
from store.migrate import _ADVISORY_LOCK, MIGRATIONS, check, fits, newest_revision, upgrade
from store.schema import metadata
from tests.support import earlier_version
from tests.support.next_version import ADDS, BREAKS, add_migration, with_letter
from tests.support.waiting import wait_for


def _by_name(items: Any) -> list[dict[str, Any]]:
    return sorted(
        ({name: _text(value) for name, value in item.items()} for item in items), key=lambda item: item["name"]
    )


def _text(value: Any) -> Any:
    """Types and SQL expressions compare by how they are written."""
    return {name: str(one) for name, one in value.items()} if isinstance(value, dict) else str(value)


def _described(tx: Tx, *, existing: bool = False) -> dict[str, Any]:
    """All that the database says of our tables, or of those that it has, checks too, which Alembic does not compare."""
    seen = inspect(tx)
    tables = seen.get_table_names() if existing else list(metadata.tables)
    return {
        table: {
            "columns": _by_name(seen.get_columns(table)),
            "primary key": seen.get_pk_constraint(table),
            "foreign keys": _by_name(seen.get_foreign_keys(table)),
            "checks": _by_name(seen.get_check_constraints(table)),
            "unique": _by_name(seen.get_unique_constraints(table)),
            "indexes": _by_name(seen.get_indexes(table)),
        }
        for table in tables
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
    """A worker that was not updated with the tables says so, and does not advise an upgrade, which changes nothing."""
    upgrade(empty_database)
    _set_version(empty_database, "9999")
    for tried in (check, upgrade):
        with pytest.raises(
            SchemaOutdated, match=f"at version 9999, which is too new .*, of {newest_revision()}: run the"
        ):
            tried(empty_database)


def test_tables_that_only_grew_fit(empty_database: Database) -> None:
    """A worker goes on with tables of the next release whose migration has a letter, and leaves them as they are."""
    upgrade(empty_database)
    newer = with_letter(newest_revision())
    _set_version(empty_database, newer)
    check(empty_database)
    assert upgrade(empty_database) == newer


def test_old_tables_are_changed_while_no_worker_runs(database: Database) -> None:
    """A worker that was forgotten would meet tables that it does not know, and give up lines for that."""
    _set_version(database, f"{int(newest_revision()[:4]) - 1:04}")
    with database.begin() as tx:
        workers.heartbeat(tx, "w", "host", 1, None, 0.0)
    with pytest.raises(SchemaInUse, match=r"workers run \(1\)"):
        upgrade(database)
    with database.begin() as tx:
        workers.forget(tx, "w")
    _set_version(database, newest_revision())


def _set_version(database: Database, revision: str) -> None:
    with database.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


@pytest.mark.parametrize(
    ("tables", "program", "expected"),
    [
        ("0015", "0015", True), ("0015a", "0015", True), ("0015b", "0015a", True), ("0015", "0015a", False),
        ("0016", "0015", False), ("0016a", "0015b", False), ("0015b", "0016", False),
    ],
)  # fmt: skip
def test_a_program_fits_tables_of_its_number_and_no_earlier_letter(
    tables: str, program: str, *, expected: bool
) -> None:
    """Whoever plans an upgrade sees by the two versions whether workers may go on meanwhile."""
    assert fits(tables, program=program) is expected


def _migrated_one_by_one(database: Database, versions: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Run the migrations of a folder; yield (revision, tables before it, tables after it) of those with a letter."""
    for file in sorted(versions.glob("[0-9]*.py")):
        revision = file.name.partition("_")[0]
        with database.begin() as tx:
            before = _described(tx, existing=True)
            earlier_version.migrate(tx, revision, versions.parent)
            after = _described(tx, existing=True)
        if revision[-1].isalpha():
            yield revision, before, after


def _what_hurts(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The changes over which a program that knows only the tables before would stumble."""
    found = []
    for table, was in before.items():
        now = after.get(table)
        if now is None:
            found.append(f"{table} is gone")
            continue
        kinds = ("primary key", "foreign keys", "checks", "unique")
        found += [f"{kind} of {table}" for kind in kinds if now[kind] != was[kind]]
        columns = {column["name"]: column for column in now["columns"]}
        known = {column["name"]: column for column in was["columns"]}
        found += [f"{table}.{name}" for name, column in known.items() if columns.get(name) != column]
        found += [
            f"{table}.{name} has to be given"
            for name in columns.keys() - known.keys()
            if columns[name]["nullable"] == "False" and columns[name]["default"] == "None"
        ]
        indexes = {index["name"] for index in now["indexes"]}
        found += [f"index {index['name']}" for index in was["indexes"] if index["name"] not in indexes]
    return found


def test_a_migration_with_a_letter_only_adds(empty_database: Database) -> None:
    """The workers that run during such an upgrade meet nothing that they do not know, and miss nothing that they do."""
    for revision, before, after in _migrated_one_by_one(empty_database, MIGRATIONS / "versions"):
        assert _what_hurts(before, after) == [], revision


@pytest.mark.parametrize(("body", "expected"), [(ADDS, []), (BREAKS, ["pauses.next_reason has to be given"])])
def test_a_migration_that_does_more_is_found(
    empty_database: Database, tmp_path: Path, body: str, expected: list[str]
) -> None:
    """A column that old workers would have to fill has a new number, or it is not released."""
    shutil.copytree(MIGRATIONS, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    add_migration(tmp_path / "migrations" / "versions", with_letter(newest_revision()), body)
    *_, (_, before, after) = _migrated_one_by_one(empty_database, tmp_path / "migrations" / "versions")
    assert _what_hurts(before, after) == expected


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
