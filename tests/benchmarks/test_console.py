"""The console with 100,000 dead letters: the time of a filtered list, and of an action on all."""

import random
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from urllib.parse import urlencode

import httpx2
import pytest
from sqlalchemy import insert, text

from store import Database, dead_letters, operation_queries, schema
from tests.benchmarks.as_it_is import show
from tests.support.served import served
from tests.support.waiting import wait_for

pytestmark = pytest.mark.benchmark

LETTERS, ROUNDS = 100_000, 8
LIMIT = 0.3
REASONS = ("contract", "exhausted", "credentials", "crashed", "unexpected", "conflict", "unpublishable")
KINDS = ("push.requested.v1", "mapping.changed.v1", "connection.changed.v1", "catalog.requested.v1")
WORDS = ("timeout", "refused", "address", "certificate", "quantity", "agreement", "period", "server", "gateway")
FILTERS: tuple[dict[str, str], ...] = (
    {},
    {"partner": "msp-7"},
    {"kind": "mapping.changed.v1"},
    {"reason": "exhausted"},
    {"since": "2d"},
    {"text": "nowhere in them"},
    {"text": "timeout"},
    {"text": "gateway", "reason": "crashed"},
    {"partner": "msp-9", "reason": "crashed", "kind": "push.requested.v1", "until": "1d"},
)


def _fill(database: Database) -> None:
    chance, now = random.Random(1), datetime.now(UTC)

    def row(number: int) -> dict[str, object]:
        reason, place = chance.choice(REASONS), chance.choice(("", "calls.py:_read", "run.py:_flush"))
        at = now - timedelta(seconds=chance.randrange(30 * 86400))
        return {
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "partner_id": f"msp-{chance.randrange(300)}",
            "message_id": str(number),
            "kind": chance.choice(KINDS),
            "queue": "connectwise.push-requested.v1",
            "properties_json": '{"headers": {}}',
            "body": b"x" * chance.randrange(200, 2000),
            "reason": reason,
            "error_at": place,
            "error": f"{' '.join(chance.choices(WORDS, k=20))} {number}",
            "fingerprint": dead_letters.fingerprint(reason, None, place),
            "attempts": 1,
            "first_failed_at": at,
            "last_failed_at": at,
        }

    for start in range(0, LETTERS, 5000):
        with database.begin() as tx:
            tx.execute(insert(schema.dead_letters), [row(number) for number in range(start, start + 5000)])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE dead_letters"))


def test_a_list_among_100000_dead_letters(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A filtered list comes within 0.3 s, of 95 in 100, whatever the filter; all are discarded in one action."""
    # No World: its threads would take the time of the client that measures.
    given = {"DATABASE_URL": postgresql_url, "BROKER_URL": amqp_url}
    with (
        closing(Database(postgresql_url)) as database,
        served(tmp_path, given) as address,
        httpx2.Client(base_url=address) as client,
    ):
        _fill(database)
        taken = sorted(_seconds(client, f"/console/letters?{urlencode(one)}") for _ in range(ROUNDS) for one in FILTERS)
        groups = sorted(_seconds(client, "/console/letters/groups") for _ in range(ROUNDS))
        discarded = _discard_all(database, client)
    p95 = taken[int(len(taken) * 0.95)]
    middle, longest = taken[len(taken) // 2], taken[-1]
    show(
        capsys,
        f"console: {LETTERS:,} dead letters, {len(taken)} filtered lists: median {middle * 1000:.0f} ms,"
        f" p95 {p95 * 1000:.0f} ms (limit {LIMIT * 1000:.0f}), longest {longest * 1000:.0f} ms;"
        f" groups of all {groups[len(groups) // 2] * 1000:.0f} ms; all discarded in {discarded:.0f} s",
    )
    assert p95 <= LIMIT


def _seconds(client: httpx2.Client, path: str) -> float:
    started = monotonic()
    assert client.get(path).status_code == 200
    return monotonic() - started


def _discard_all(database: Database, client: httpx2.Client) -> float:
    page = client.get("/console/letters").text
    token = page.partition('name="form_token" value="')[2][:64]
    form = {"form_token": token, "kind": "discard", "everything": "yes", "f_state": "open", "why": "measured"}
    headers = {"origin": str(client.base_url).rstrip("/")}
    started = monotonic()
    checked = client.post("/console/letters/check", data=form, headers=headers).text
    form |= {name: checked.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("before", "count")}
    begun = client.post("/console/letters/begin", data=form, headers=headers)
    assert begun.status_code == 303, begun.text

    def done() -> int:
        with database.begin() as tx:
            (one,) = operation_queries.newest(tx, 1)
        return one.done if one.state == "ended" else 0

    assert wait_for(done, "the discard of all", timeout=120) == LETTERS
    return monotonic() - started
