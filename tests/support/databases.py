"""PostgreSQL databases of a test's own: empty, or copies of one that was migrated once a session."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from store import Database
from store.migrate import upgrade


class Postgresql:
    """A PostgreSQL server on which databases of random names come and go."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a new database, a copy of the template; dropped at the end, whoever is still connected."""
        name = f"test_{uuid4().hex[:12]}"
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield urlsplit(self._server_url)._replace(path=f"/{name}").geturl()
        finally:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with closing(psycopg.connect(self._server_url, autocommit=True)) as connection:
            connection.execute(statement)


def migrate_to_newest(url: str) -> None:
    """Give the database all tables, and leave no connection open: a copy needs that."""
    with closing(Database(url)) as database:
        upgrade(database)
