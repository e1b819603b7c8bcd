"""Replacing a seal key: what is stored is sealed anew, and an old key may go only when nothing needs it."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from messages import ConnectionChanged, KeyRing, SealedPrivateKey, SealKey, encode, generate_keypair, seal, unseal
from messages.sealing import seal_bytes, unseal_bytes
from store import Database, connections, outbox
from store import sealed as sealed_rows
from store.database import db_now
from store.schema import connections as table
from store.schema import dead_letters
from tests.support.commands import run
from tests.support.samples import connection, disconnect
from tests.support.store import claimed
from worker.cli.key_rotation import rotate
from worker.messaging.dead_letters import DeadLetters

OLD, NEW, LOST = generate_keypair(), generate_keypair(), generate_keypair()
RING = KeyRing.parse(f"{NEW.private},{OLD.private}")
SECRET = "hunter2-private-key"
BODY = b'{"private_key": "typed into the wrong field"}'


def _owner(partner_id: str) -> dict[str, str]:
    return {
        "partner_id": partner_id,
        "public_key": "public",
        "company_identifier": "acme",
        "site_url": "https://na.myconnectwise.net",
    }


def _connect(database: Database, partner_id: str, key: str = OLD.public, **changes: Any) -> None:
    box = seal(SECRET, **_owner(partner_id), seal_key=SealKey.parse(key))
    version = connection(**{"partner_id": partner_id, "key_id": box.key_id, "box": box.box} | changes)
    with database.partner(partner_id) as tx:
        connections.save(tx, version)


def _bury(database: Database, letter_id: str, key: str, body: bytes = BODY) -> None:
    seal_key = SealKey.parse(key)
    row = {
        "id": letter_id,
        "partner_id": "msp-1",
        "queue": "connectwise.connection-changed.v1",
        "properties_json": "{}",
        "body": seal_bytes(body, seal_key),
        "sealed_with": seal_key.key_id,
        "reason": "contract",
        "error": "",
        "fingerprint": "f",
        "attempts": 1,
        "first_failed_at": db_now(),
        "last_failed_at": db_now(),
    }
    with database.begin() as tx:
        tx.execute(insert(dead_letters).values(row))


def _boxes(database: Database) -> dict[str, tuple[str, Any]]:
    """(key id, box) of everything that is sealed, by partner or letter."""
    with database.begin() as tx:
        query = select(table.c.partner_id, table.c.key_id, table.c.box).where(table.c.box.is_not(None))
        letters = select(dead_letters.c.id, dead_letters.c.sealed_with, dead_letters.c.body)
        return {row: (key_id, box) for row, key_id, box in (*tx.execute(query), *tx.execute(letters))}


def test_all_that_is_stored_opens_with_the_new_key_alone(database: Database) -> None:
    """After a rotation the old key can go: every connection still works, every sealed dead letter still opens."""
    for number in range(45):
        _connect(database, f"msp-{number:02}")
    _connect(database, "gone")
    with database.partner("gone") as tx:
        connections.save(tx, disconnect(at=1, partner_id="gone"))
    _connect(database, "new", NEW.public)
    _bury(database, "letter", OLD.public)

    found = rotate(database, RING)
    assert found.resealed == {"connection": 45, "dead_letter": 1}
    assert (found.unopened, found.in_use, found.removable) == ([], {NEW.key_id: 47}, [OLD.key_id])
    alone = KeyRing.parse(NEW.private)
    boxes = _boxes(database)
    key_id, body = boxes.pop("letter")
    assert (key_id, unseal_bytes(body, key_id, alone)) == (NEW.key_id, BODY)
    for partner_id, (key_id, box) in boxes.items():
        assert unseal(SealedPrivateKey(key_id=key_id, box=box), alone, **_owner(partner_id)) == SECRET
    assert rotate(database, RING).resealed == {"connection": 0, "dead_letter": 0}


def test_a_dry_run_changes_nothing_and_says_the_same(database: Database) -> None:
    """An operator sees first how many would be sealed anew and which key could go."""
    _connect(database, "msp-1")
    before = _boxes(database)
    found = rotate(database, RING, dry_run=True)
    assert _boxes(database) == before
    assert (found.resealed["connection"], found.removable) == (1, [OLD.key_id])


def test_what_cannot_be_opened_is_named_and_left_as_it_is(database: Database) -> None:
    """A key that was removed too early, or a damaged box, is told with the partner and what to do; the rest is done."""
    _connect(database, "msp-1")
    _connect(database, "msp-2", LOST.public)
    _connect(database, "msp-3", key_id=OLD.key_id, box=base64.b64encode(bytes(90)).decode())
    _connect(database, "msp-4", key_id=OLD.key_id, box="A")
    _bury(database, "letter", LOST.public)
    before = _boxes(database)

    found = rotate(database, RING)
    assert found.resealed == {"connection": 1, "dead_letter": 0}
    told = {one.sealed.row: (one.reason, one.fix) for one in found.unopened}
    assert set(told) == {"msp-2", "msp-3", "msp-4", "letter"}
    assert LOST.key_id in told["msp-2"][0]
    assert "SEAL_KEYS" in told["msp-2"][1]
    assert "damaged" in told["msp-3"][0]
    assert "entered again" in told["msp-4"][1]
    assert "discard" in told["letter"][1]
    assert found.removable == []
    after = _boxes(database)
    assert {row: box for row, box in after.items() if row != "msp-1"} == {
        row: box for row, box in before.items() if row != "msp-1"
    }


def test_a_connection_that_is_saved_meanwhile_is_left_alone(database: Database) -> None:
    """A partner who enters new keys during a rotation keeps the new ones."""
    _connect(database, "msp-1")
    with database.begin() as tx:
        [read] = sealed_rows.sealed_to_other_keys(tx, "connection", NEW.key_id, after="", limit=9)
    with database.begin() as tx:
        tx.execute(update(table).values(box="bmV3"))
    with database.begin() as tx:
        assert not sealed_rows.replace(tx, read, NEW.key_id, b"new")
    assert _boxes(database) == {"msp-1": (OLD.key_id, "bmV3")}


def test_a_box_stays_tied_to_its_connection(database: Database) -> None:
    """A box copied to another partner does not become usable by a rotation."""
    _connect(database, "msp-1")
    with database.begin() as tx:
        tx.execute(update(table).values(partner_id="thief"))
    rotate(database, RING)
    key_id, box = _boxes(database)["thief"]
    with pytest.raises(Exception, match="belongs to another partner_id"):
        unseal(SealedPrivateKey(key_id=key_id, box=box), RING, **_owner("thief"))


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_command_says_what_it_did_and_what_may_go(database: Database, database_url: str, tmp_path: Path) -> None:
    """`keys rotate` prints the counts, names what it could not open, and the key that may be removed; no secret."""
    _connect(database, "msp-1")
    settings = {"DATABASE_URL": database_url, "SEAL_KEYS": f"{NEW.private},{OLD.private}"}
    planned = json.loads(run("keys", "rotate", "--dry-run", "--json", folder=tmp_path, settings=settings).stdout)
    assert (planned["dry_run"], planned["resealed"]) == (True, {"connection": 1, "dead_letter": 0})
    done = run("keys", "rotate", folder=tmp_path, settings=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"key {NEW.key_id}: connections 1, dead letters 0." in done.stdout
    assert f"Nothing is sealed with the key {OLD.key_id} any more" in done.stdout

    _connect(database, "msp-2", LOST.public)
    failed = run("keys", "rotate", folder=tmp_path, settings=settings)
    assert failed.returncode == 1
    assert "msp-2" in failed.stdout
    assert "1 could not be opened" in failed.stderr
    assert not [key for key in (OLD, NEW) if key.private.partition(":")[2] in f"{done} {failed}"]
    missing = run("keys", "rotate", folder=tmp_path, settings={"DATABASE_URL": database_url})
    assert (missing.returncode, "SEAL_KEYS is not set" in missing.stderr) == (5, True)


def test_a_key_stays_while_something_waits_to_be_opened_with_it(database: Database) -> None:
    """A deferred or replayed message opens when it leaves; until then its key may not go."""
    row = outbox.new_row("", "connectwise.connection-changed.v1", {"message_id": "m-1"}, BODY)
    with database.begin() as tx:
        outbox.put_rows(tx, [DeadLetters(KeyRing.parse(OLD.private)).sealed(row)])
    for dry_run in (True, False):
        assert rotate(database, RING, dry_run=dry_run).removable == []
    with database.begin() as tx:
        outbox.delete(tx, [one.id for one in claimed(tx)])
    assert rotate(database, RING).removable == [OLD.key_id]


def test_a_key_stays_while_a_dead_letter_holds_what_is_sealed_with_it(database: Database) -> None:
    """A dead connection.changed is replayed as it came: with a private key that only the old seal key opens."""
    owner: dict[str, Any] = {**_owner("msp-1")}
    event = ConnectionChanged(
        correlation_id="c",
        changed_at=datetime(2026, 11, 1, tzinfo=UTC),
        sealed_private_key=seal(SECRET, **_owner("msp-1"), seal_key=SealKey.parse(OLD.public)),
        **owner,
    )
    _bury(database, "letter", OLD.public, encode(event).body)
    assert rotate(database, RING, dry_run=True).removable == []
    rotation = rotate(database, RING)
    assert (rotation.resealed["dead_letter"], rotation.removable) == (1, [])
