"""Questions for choices and their cache: nothing is lost, nothing is answered twice."""

import json

from store import Database, catalog
from store.catalog import Cached
from tests.support.samples import PARTNER, TENANT, minute


def test_a_question_waits_until_it_is_answered(database: Database) -> None:
    """Asked twice it waits once; its first answer stays, and what was asked is forgotten with it."""
    with database.partner(PARTNER) as tx:
        assert catalog.ask(tx, PARTNER, "q-1", "{}") is not None
        assert catalog.ask(tx, PARTNER, "q-1", "{}") is None
        assert [question.event for question in catalog.due(tx, PARTNER, 10)] == ["{}"]
        assert catalog.due(tx, "another", 10) == []
        assert catalog.count_answered(tx, PARTNER, ["q-1", "q-2"]) == (1, 0)
        assert catalog.answer(tx, PARTNER, "q-1", "first") is True
        assert catalog.answer(tx, PARTNER, "q-1", "second") is False
        again = catalog.ask(tx, PARTNER, "q-1", "{}")
        assert again is not None
        assert (again.answer, again.event) == ("first", None)
        assert catalog.due(tx, PARTNER, 10) == []
        assert catalog.count_answered(tx, PARTNER, ["q-1", "q-2"]) == (1, 1)


def test_large_questions_are_read_one_at_a_time(database: Database) -> None:
    """A hundred questions about ten thousand companies each do not fill the memory; small ones do not wait for them."""
    large = json.dumps({"companies": ["x" * 70_000]})
    asked = {"q-1": "{}", "q-2": large, "q-3": large, "q-4": "{}", "q-5": large, "q-6": "{}"}
    for message_id, event in asked.items():
        with database.partner(PARTNER) as tx:
            catalog.ask(tx, PARTNER, message_id, event)
    read: list[list[str]] = []
    with database.partner(PARTNER) as tx:
        while waiting := [question.message_id for question in catalog.due(tx, PARTNER, 2)]:
            read.append(waiting)
            for message_id in waiting:
                catalog.answer(tx, PARTNER, message_id, "answer")
    assert read == [["q-1", "q-2", "q-4"], ["q-3", "q-6"], ["q-5"]]


def test_what_was_read_is_kept_for_one_connectwise(database: Database) -> None:
    """The newest reading counts, for the tenant that it was read of; many keys at once are no trouble."""
    many = {f"additions {number}": Cached(minute(0), f"line {number} \u00e9") for number in range(1200)}
    with database.begin() as tx:
        catalog.keep(tx, PARTNER, TENANT, many)
        catalog.keep(tx, PARTNER, TENANT, {"additions 7": Cached(minute(5), "newer")})
        catalog.keep(tx, PARTNER, TENANT, {})
        found = catalog.cached(tx, PARTNER, TENANT, many)
        assert catalog.cached(tx, PARTNER, "another", many) == {}
    assert found == many | {"additions 7": Cached(minute(5), "newer")}
