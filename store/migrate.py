"""Migrations: a command runs them; a worker only checks at its start that they were run."""

from pathlib import Path

from sqlalchemy import inspect, text

from store.database import Database, Tx

MIGRATIONS = Path(__file__).with_name("migrations")

# "phin" in ASCII: one upgrade at a time, however many containers start at once.
_ADVISORY_LOCK = 0x7068696E


class SchemaOutdated(Exception):
    """The tables are not those of this version: run `phin-connectwise db upgrade`."""


def upgrade(database: Database) -> str | None:
    """Bring the tables to this version. Returns the revision that they had before, None = there were none.

    Safe to run again and from several places at once.
    """
    from alembic import command
    from alembic.config import Config

    with database.begin() as tx:
        if tx.dialect.name == "postgresql":
            # Wait for another upgrade however long it takes, but not for the tables: others would queue behind that.
            tx.exec_driver_sql("SET LOCAL lock_timeout = 0")
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            tx.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")
        before = _revision(tx)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = tx
        command.upgrade(config, "head")
    return before


def check(database: Database) -> None:
    """Raise SchemaOutdated unless the tables are those of this version."""
    if database.is_missing:
        raise SchemaOutdated(
            f"there is no database {database.name}: run `phin-connectwise db upgrade` to make it, or go to the folder "
            "that has one, or name one in PHIN_CONNECTWISE_DATABASE_URL"
        )
    with database.begin() as tx:
        revision = _revision(tx)
    newest = newest_revision()
    if revision != newest:
        raise SchemaOutdated(
            f"the database {database.name} is at version {revision or 'none'}, this program needs {newest}: "
            "run `phin-connectwise db upgrade`"
        )


def newest_revision() -> str:
    """The revision of the newest migration, with which its file name begins."""
    return max(file.name for file in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _revision(tx: Tx) -> str | None:
    """The revision that Alembic has noted in the database."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
