"""Connections: the newest version counts in whatever order they arrive, and only it keeps its key."""

import itertools
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import select

from store import Database, connections
from store.connections import ConnectionVersion, tenant_at
from store.schema import connections as table
from tests.support.samples import PARTNER, TENANT, connection, disconnect, minute

OTHER = "eu.myconnectwise.net acme"
VERSIONS = [
    connection(at=0, ca_bundle="ca", check_due_at=minute(0)),
    disconnect(at=1),
    connection(at=2, message_id="m-2a", tenant=OTHER),
    connection(at=2, message_id="m-2b", box="newest", ca_bundle="ca", check_due_at=minute(2)),
]


def _save(database: Database, *versions: ConnectionVersion) -> list[bool]:
    with database.partner(PARTNER) as tx:
        return [connections.save(tx, version) for version in versions]


def _current(database: Database) -> ConnectionVersion | None:
    with database.begin() as tx:
        return connections.current(tx, PARTNER)


def test_the_newest_version_wins_in_any_order(database: Database) -> None:
    """A connection that was overtaken on its way does not come back, and no key of an older one is kept."""
    for number, order in enumerate(itertools.permutations(range(len(VERSIONS)))):
        versions = [replace(version, partner_id=f"msp-{number}") for version in VERSIONS]
        with database.begin() as tx:
            for position, index in enumerate(order):
                assert connections.save(tx, versions[index]) == (index == max(order[: position + 1]))
            assert connections.current(tx, f"msp-{number}") == versions[-1]
            assert connections.tenant_history(tx, f"msp-{number}") == [(one.changed_at, one.tenant) for one in versions]
    with database.begin() as tx:
        kept = tx.execute(select(table.c.box, table.c.ca_bundle).where(table.c.box.is_not(None))).all()
        waiting = tx.execute(select(table.c.check_due_at).where(table.c.check_due_at.is_not(None))).scalars().all()
    assert set(kept) == {("newest", "ca")}
    assert len(kept) == number + 1
    assert set(waiting) == {minute(2)}


def test_the_same_version_again_changes_nothing(database: Database) -> None:
    """A message that is delivered twice does not undo what was found out meanwhile."""
    version = connection(at=1)
    _save(database, version)
    with database.begin() as tx:
        connections.save_check(tx, version, {"status": "ok"})
        url = "https://na.myconnectwise.net/v2025_1/apis/3.0"
        connections.save_discovery(tx, version, url, minute(2), "2024.3", answered=True)
    before = _current(database)
    assert _save(database, version) == [True]
    assert _current(database) == before
    assert before is not None
    assert before.check == {"status": "ok"}
    assert (before.base_url, before.base_url_at) == ("https://na.myconnectwise.net/v2025_1/apis/3.0", minute(2))


def test_a_check_that_was_asked_for_meanwhile_stays_due(database: Database) -> None:
    """A check that began before the request is no answer to it."""
    begun = connection(at=1, check_due_at=minute(1))
    _save(database, begun)
    with database.begin() as tx:
        connections.check_again(tx, begun, minute(2), "q-2")
        connections.save_check(tx, begun, {"status": "failed"})
        connections.revise_check(tx, begun, {"status": "ok"})
    asked = _current(database)
    assert asked is not None
    assert (asked.check, asked.check_due_at) == ({"status": "ok"}, minute(2))
    with database.begin() as tx:
        connections.save_check(tx, asked, {"status": "ok"})
    answered = _current(database)
    assert answered is not None
    assert answered.check_due_at is None


def test_a_disconnect_leaves_no_key(database: Database) -> None:
    """A partner that disconnects is disconnected, and its key is gone."""
    _save(database, connection(at=0), disconnect(at=1))
    assert _current(database) == disconnect(at=1)
    with database.begin() as tx:
        assert tx.execute(select(table.c.box).where(table.c.box.is_not(None))).all() == []


def test_a_partner_that_never_connected_has_no_connection(database: Database) -> None:
    """No connection is something else than a disconnect, and neither is another partner's."""
    _save(database, connection(partner_id="msp-2"))
    assert _current(database) is None


def test_an_operator_lists_the_newest_of_each_partner(database: Database) -> None:
    """`connections` shows one row a partner, tombstones too, or one partner's."""
    newest = [connection(at=2, partner_id="msp-2"), disconnect(at=3, partner_id="msp-3")]
    _save(database, connection(at=1, partner_id="msp-2"), connection(at=1, partner_id="msp-3"), *newest)
    with database.begin() as tx:
        assert connections.all_current(tx) == newest
        assert connections.all_current(tx, "msp-3") == newest[1:]
        assert connections.all_current(tx, "msp-4") == []


@pytest.mark.parametrize(
    ("when", "tenant"),
    [(-1, None), (0, TENANT), (0.5, TENANT), (1, TENANT), (1.5, TENANT), (2, OTHER), (9, OTHER)],
)
def test_the_tenant_of_a_moment_is_the_one_connected_last(when: float, tenant: str | None) -> None:
    """A mapping belongs to the ConnectWise it was made under; a disconnect in between does not forget it."""
    history: list[tuple[datetime, str | None]] = [(minute(0), TENANT), (minute(1), None), (minute(2), OTHER)]
    assert tenant_at(history, minute(when)) == tenant
