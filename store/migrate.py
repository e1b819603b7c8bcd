"""Migrations: run by a command, never at a worker's start."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from store.database import Database, Tx

# "phin": one upgrade at a time, however many containers start at once.
_ADVISORY_LOCK = 0x7068696E


class SchemaOutdated(Exception):
    """The tables are not those of this version: run `phin-connectwise db upgrade`."""


def upgrade(database: Database) -> None:
    """Bring the tables to this version; safe to run again and from several places at once."""
    with database.begin() as tx:
        if tx.dialect.name == "postgresql":
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        command.upgrade(_config(tx), "head")


def check(database: Database) -> None:
    """Raise SchemaOutdated unless the tables are those of this version."""
    with database.begin() as tx:
        found = MigrationContext.configure(tx).get_current_revision()
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if found != newest:
        raise SchemaOutdated(
            f"the database is at version {found or 'none'}, this program needs {newest}: "
            "run `phin-connectwise db upgrade`"
        )


def _config(tx: Tx | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = tx
    return config
