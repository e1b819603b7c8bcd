"""The work of the peers whose lines are handled by threads: `requests`, and psycopg with a pool."""

import threading
from functools import cache

import psycopg_pool
import requests

from tests.benchmarks.peers.line import CONCURRENCY, DATABASE_URL, UPSERT, PeerLine

_of_thread = threading.local()


def sync(line: PeerLine) -> float:
    """Set the addition's quantity if it differs, and keep the result. Returns the quantity that it held before."""
    session = _session()
    answer = session.get(line.url, timeout=60)
    answer.raise_for_status()
    before = float(answer.json()["quantity"])
    if before != line.users:
        answer = session.patch(line.url, json=line.patch, timeout=60)
        answer.raise_for_status()
        if answer.json()["quantity"] != line.users:
            raise ValueError(f"{line.url} holds another quantity")
    with _pool().connection() as connection:
        connection.execute(UPSERT, line.row(before))
    return before


def _session() -> requests.Session:
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
        _of_thread.session.trust_env = False
        _of_thread.session.auth = ("company+public", "private-key")
    session: requests.Session = _of_thread.session
    return session


_making = threading.Lock()


def _pool() -> psycopg_pool.ConnectionPool:
    with _making:
        return _made_pool()


@cache
def _made_pool() -> psycopg_pool.ConnectionPool:
    return psycopg_pool.ConnectionPool(DATABASE_URL, min_size=CONCURRENCY, max_size=CONCURRENCY, open=True)
