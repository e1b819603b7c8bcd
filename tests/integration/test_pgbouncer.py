"""A pooler of connections, the real PgBouncer, between the worker and PostgreSQL."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from messages import generate_keypair
from tests.support.commands import run
from tests.support.own_servers.places import Process, free_port
from tests.support.own_servers.postgresql import USERS, is_known
from tests.support.waiting import wait_for

MISSING = "no PgBouncer: install it (apt-get install pgbouncer)"
SETTINGS = {
    "CLIENT_ID": "00000000-0000-0000-0000-000000000000",
    "SEAL_KEYS": generate_keypair().private,
    "STATUS_ADDRESS": "",
}
IGNORES = "ignore_startup_parameters = options"


@pytest.fixture
def start() -> Iterator[Callable[[str, str], str]]:
    """Start a PgBouncer before a database, with further lines of its configuration; returns the URL."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    if found is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="own-pgbouncer-"))
    user = next(user for user in USERS if is_known(user)) if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    process = Process([found, str(folder / "pgbouncer.ini")], folder, user=user)

    def started(database_url: str, further: str) -> str:
        url, port = make_url(database_url), free_port()
        password = f" password={url.password}" if url.password else ""
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={url.host} port={url.port} user={url.username}{password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
            f"unix_socket_dir =\n{further}\n"
        )
        process.start()
        pooled = f"postgresql://phin@127.0.0.1:{port}/{url.database}"
        wait_for(lambda: _answers(pooled), "PgBouncer to answer")
        return pooled

    yield started
    process.close()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    "further",
    ["pool_mode = transaction", f"pool_mode = transaction\n{IGNORES}", f"pool_mode = session\n{IGNORES}"],
    ids=["transactions, refusing settings", "transactions, losing settings", "sessions, losing settings"],
)
@pytest.mark.parametrize("command", ["worker", "db"])
def test_a_pooler_is_refused(
    start: Callable[[str, str], str], postgresql_url: str, tmp_path: Path, further: str, command: str
) -> None:
    """Whoever puts PgBouncer between learns at the start what to change, and no statement runs without its limits."""
    settings = SETTINGS | {"DATABASE_URL": start(postgresql_url, further)}
    done = run(*{"worker": ["worker"], "db": ["db", "upgrade"]}[command], folder=tmp_path, settings=settings)
    assert done.returncode == 4
    assert "DATABASE_URL leads to a pooler of connections, such as PgBouncer; name PostgreSQL itself" in done.stderr
    assert "Traceback" not in done.stderr
