"""The search for a secret in everything that a run left behind, in all forms that it may have taken."""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from urllib.parse import quote, quote_plus

import psycopg
from psycopg import sql


def forms(secret: str) -> list[bytes]:
    """Text, hex, URL, JSON and base64, the last as it looks inside a longer text too (so in a Basic header)."""
    plain = secret.encode()
    found = [plain, plain.hex().encode(), plain.hex().upper().encode(), json.dumps(secret)[1:-1].encode()]
    found += [form.encode() for form in (quote(secret), quote(secret, safe=""), quote_plus(secret))]
    for ahead in range(3):
        # Three bytes make four letters: leave out the letters that also depend on what stands around.
        text = base64.b64encode(b"\0" * ahead + plain)
        core = text[(0, 2, 3)[ahead] : len(text) - 4]
        found += [core, core.replace(b"+", b"-").replace(b"/", b"_"), quote(core, safe="").encode()]
    return list(dict.fromkeys(found))


def scan(secret: str, places: Iterable[tuple[str, bytes]]) -> list[str]:
    """The names of the places that hold the secret."""
    needles = forms(secret)
    return [name for name, content in places if any(needle in content for needle in needles)]


def cells(database_url: str) -> Iterator[tuple[str, bytes]]:
    """Name (`table.column`) and content of every value in every table."""
    with closing(psycopg.connect(database_url)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            names = [column.name for column in rows.description or ()]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    yield f"{table}.{name}", value if isinstance(value, bytes) else str(value).encode()
