"""Mappings: the newest version of each company counts, in whatever order they arrive."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import Database, mappings
from store.mappings import Mapping
from tests.support.samples import PARTNER, mapping, minute

VERSIONS = [
    mapping(at=0, cw_company_id=None, agreement_id=None, addition_id=None),
    mapping(at=1, message_id="0-1", agreement_id=None, addition_id=None),
    mapping(at=1, message_id="0-2", addition_id=12),
    mapping(at=2, rule="sum", minimum=10),
    mapping(at=3, cw_company_id=None, agreement_id=None, addition_id=None),
]


def _save(database: Database, *saved: Mapping) -> list[bool]:
    with database.begin() as tx:
        return [mappings.save(tx, one) for one in saved]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.sampled_from(range(len(VERSIONS))), min_size=1, max_size=8))
def test_the_newest_version_wins_in_any_order(database: Database, order: Sequence[int]) -> None:
    """However messages are repeated, lost or reordered, the newest that came counts, and each says if it is that."""
    partner_id = str(uuid4())
    versions = [replace(version, partner_id=partner_id) for version in VERSIONS]
    saved = _save(database, *(versions[index] for index in order))
    assert saved == [all(index > earlier for earlier in order[:position]) for position, index in enumerate(order)]
    with database.begin() as tx:
        assert mappings.of_partner(tx, partner_id) == [versions[max(order)]]


@pytest.mark.parametrize(
    ("changes", "addition"),
    [
        ({}, (7, 11)),
        ({"addition_id": None}, None),
        ({"agreement_id": None, "addition_id": None}, None),
        ({"cw_company_id": None, "agreement_id": None, "addition_id": None}, None),
    ],
)
def test_an_unfinished_mapping_has_no_addition(
    database: Database, changes: dict[str, Any], addition: tuple[int, int] | None
) -> None:
    """Every selection is kept at once, and billed through only when it is whole."""
    _save(database, mapping(**changes))
    with database.begin() as tx:
        [stored] = mappings.of_companies(tx, PARTNER, ["c-1", "c-2"]).values()
    assert stored.addition == addition


def test_companies_that_share_an_addition_are_found(database: Database) -> None:
    """Two companies on one addition cannot overwrite each other unseen."""
    other = mapping("c-5", partner_id="msp-2")
    _save(database, mapping("c-2"), mapping("c-1"), mapping("c-3", 12), mapping("c-4", None), other)
    with database.begin() as tx:
        sharing = mappings.of_additions(tx, PARTNER, [(7, 11)])
        assert mappings.of_additions(tx, PARTNER, []) == []
    assert [one.company_id for one in sharing] == ["c-1", "c-2"]


def test_a_check_is_due_until_it_is_made(database: Database) -> None:
    """A saved mapping is compared with ConnectWise once, or again when that could not be reached."""
    one, two = mapping("c-1", check_due_at=minute(2)), mapping("c-2", check_due_at=minute(1))
    _save(database, one, two, mapping("c-3"))
    with database.begin() as tx:
        assert mappings.due_checks(tx, PARTNER, minute(0), 10) == []
        assert mappings.due_checks(tx, PARTNER, minute(2), 10) == [two, one]
        assert mappings.due_checks(tx, PARTNER, minute(2), 1) == [two]
        assert mappings.save_check(tx, two, {"status": "complete"})
        mappings.check_again(tx, one, minute(5))
        assert mappings.due_checks(tx, PARTNER, minute(2), 10) == []
        assert mappings.of_companies(tx, PARTNER, ["c-2"])["c-2"].check == {"status": "complete"}


def test_a_check_that_was_asked_for_meanwhile_stays_due(database: Database) -> None:
    """A check that began before the request, or before another company came, is not the last word."""
    begun = mapping(check_due_at=minute(1))
    _save(database, begun)
    with database.begin() as tx:
        mappings.check_now(tx, PARTNER, minute(2), [begun.company_id])
        assert mappings.save_check(tx, begun, {"status": "complete"})
        (asked,) = mappings.due_checks(tx, PARTNER, minute(2), 10)
        assert mappings.save_check(tx, asked, {"status": "complete"})
        assert mappings.due_checks(tx, PARTNER, minute(2), 10) == []


def test_a_check_of_an_older_version_is_dropped(database: Database) -> None:
    """The result for a mapping that has changed meanwhile is not said of the new one."""
    old, new = mapping(at=0), mapping(at=1, check_due_at=minute(1))
    _save(database, old, new)
    with database.begin() as tx:
        assert not mappings.save_check(tx, old, {"status": "complete"})
        mappings.check_again(tx, old, None)
        assert mappings.of_partner(tx, PARTNER) == [new]


def test_a_new_version_is_checked_anew(database: Database) -> None:
    """The names and the verdict of the old choice do not stay with the new one."""
    old, new = mapping(at=0), mapping(at=1, addition_id=12, check_due_at=minute(1))
    _save(database, old)
    with database.begin() as tx:
        mappings.save_check(tx, old, {"status": "complete"})
    _save(database, new)
    with database.begin() as tx:
        assert mappings.of_partner(tx, PARTNER) == [new]
