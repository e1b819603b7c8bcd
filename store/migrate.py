"""Migrations: a command runs them; a worker only checks at its start that the tables fit.

A revision is a number, and perhaps a letter: 0015, 0015a. A migration with a letter only adds, so programs of the same
number and an earlier letter go on with its tables; one with a new number needs all older programs to be stopped.
"""

from pathlib import Path

from sqlalchemy import func, inspect, select, text

from store.database import Database, Tx, db_now
from store.schema import workers
from store.workers import SILENT_AFTER

MIGRATIONS = Path(__file__).with_name("migrations")

# "phin" in ASCII: one upgrade at a time, however many containers start at once.
_ADVISORY_LOCK = 0x7068696E
_DIGITS = 4


class SchemaOutdated(Exception):
    """The tables do not fit this version of the program: `phin-connectwise db upgrade`, or another program."""


class SchemaInUse(Exception):
    """Workers run that would not work with the new tables: stop them first."""


def upgrade(database: Database) -> str | None:
    """Bring the tables to this version. Returns the revision that they had before, None = there were none.

    Safe to run again and from several places at once; tables that are newer, and fit, stay as they are. Raises
    SchemaInUse if workers run that would not fit any more, SchemaOutdated if newer tables do not fit this program.
    """
    from alembic import command
    from alembic.config import Config

    newest = newest_revision()
    with database.begin() as tx:
        if tx.dialect.name == "postgresql":
            # Wait for another upgrade however long it takes, but not for the tables: others would queue behind that.
            tx.exec_driver_sql("SET LOCAL lock_timeout = 0")
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            tx.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")
        before = _revision(tx)
        if before is not None and before >= newest:
            _require(before, newest, database.name)
            return before
        if before is not None and not fits(newest, program=before):
            _require_no_worker(tx, before, newest)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = tx
        command.upgrade(config, "head")
    return before


def check(database: Database) -> None:
    """Raise SchemaOutdated unless this program works with the tables."""
    if database.is_missing:
        raise SchemaOutdated(
            f"there is no database {database.name}: run `phin-connectwise db upgrade` to make it, or go to the folder "
            "that has one, or name one in PHIN_CONNECTWISE_DATABASE_URL"
        )
    with database.begin() as tx:
        revision = _revision(tx)
    _require(revision, newest_revision(), database.name)


def newest_revision() -> str:
    """The revision of the newest migration, with which its file name begins."""
    return max(file.name for file in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def fits(tables: str, *, program: str) -> bool:
    """True if a program of this revision works with tables of that one."""
    return tables >= program and tables[:_DIGITS] == program[:_DIGITS]


def _require(revision: str | None, newest: str, name: str) -> None:
    if revision is None or revision < newest:
        raise SchemaOutdated(
            f"the database {name} is at version {revision or 'none'}, this program needs {newest}: "
            "run `phin-connectwise db upgrade`"
        )
    if not fits(revision, program=newest):
        raise SchemaOutdated(
            f"the database {name} is at version {revision}, which is too new for this program, of {newest}: run the "
            "program that has upgraded it, or restore the backup of before the upgrade"
        )


def _require_no_worker(tx: Tx, before: str, newest: str) -> None:
    if not inspect(tx).has_table(workers.name):
        return
    alive = tx.execute(select(func.count()).where(workers.c.seen_at > db_now(-SILENT_AFTER))).scalar_one()
    if alive:
        raise SchemaInUse(
            f"workers run ({alive}) that would not work with the tables of {newest}, as they are of {before}: stop "
            f"them, then run this again. One that was killed counts for {SILENT_AFTER:.0f} seconds"
        )


def _revision(tx: Tx) -> str | None:
    """The revision that Alembic has noted in the database."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
