"""The questions of one run: none is lost, stuck, or in the way of another."""

from datetime import UTC, datetime

import pytest

from messages import CatalogKind, CatalogRequested
from store import Database, catalog
from store.catalog import Question
from tests.support.samples import PARTNER, TENANT
from worker.catalog.choices import Listing
from worker.catalog.queries import ListCache
from worker.catalog.scheduler import ScheduledCall, Scheduler
from worker.rules.problems import problem

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def _ask(database: Database, kind: CatalogKind, number: int = 1) -> Question:
    event = CatalogRequested(partner_id=PARTNER, correlation_id="q", kind=kind, cw_company_id=number)
    with database.partner(PARTNER) as tx:
        question = catalog.ask(tx, PARTNER, str(event.id), event.model_dump_json())
    assert question is not None
    return question


def _scheduler(database: Database) -> Scheduler:
    return Scheduler(database, PARTNER, lambda: datetime.now(UTC))


def _next(scheduler: Scheduler) -> ScheduledCall:
    call = scheduler.next()
    assert call is not None
    return call


def _problem(database: Database, question: Question) -> str | None:
    with database.begin() as tx:
        found = catalog.find(tx, PARTNER, question.message_id)
    return found.answer if found else None


def test_a_question_that_was_not_asked_is_taken_again(database: Database) -> None:
    """A list that is left half-way, as the lease may be lost, is begun anew; the run does not wait for it for ever."""
    scheduler, question = _scheduler(database), _ask(database, "companies")
    scheduler.take([question], TENANT)
    _next(scheduler).put_back()
    assert not scheduler.has_next
    scheduler.take([question], TENANT)
    assert _next(scheduler).call.reads_connectwise


def test_a_long_question_is_not_in_the_way_of_a_short_one(database: Database) -> None:
    """While all companies are read the agreements of one can be asked for; a second list finds what the first read."""
    scheduler, first, second = _scheduler(database), _ask(database, "companies"), _ask(database, "companies")
    scheduler.take([first, second, _ask(database, "agreements")], TENANT)
    long, short = _next(scheduler), _next(scheduler)
    assert not scheduler.has_next
    short.failed(problem("unexpected"))
    long.done({"companies": Listing(datetime.now(UTC), "")})
    assert not scheduler.has_next
    with database.partner(PARTNER) as tx:
        scheduler.save(tx)
    assert _problem(database, first)
    assert _problem(database, second)


def test_a_bug_answers_one_question(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on our side becomes the answer to its question, and ends neither the run nor others."""
    scheduler, bad, good = _scheduler(database), _ask(database, "agreements", 1), _ask(database, "agreements", 2)
    known = ListCache._known

    def broken(lists: ListCache, keys: list[str]) -> dict[str, Listing]:
        if keys == ["agreements 1"]:
            raise RuntimeError
        return known(lists, keys)

    monkeypatch.setattr(ListCache, "_known", broken)
    scheduler.take([bad, good], TENANT)
    _next(scheduler).done({"agreements 2": Listing(datetime.now(UTC), "")})
    with database.partner(PARTNER) as tx:
        scheduler.save(tx)
    assert "unexpected" in (_problem(database, bad) or "")
    assert "unexpected" not in (_problem(database, good) or "")


def test_another_connection_begins_all_anew(database: Database) -> None:
    """A list that was read of one ConnectWise answers nothing about another; without one the answer says so."""
    scheduler, question = _scheduler(database), _ask(database, "companies")
    scheduler.take([question], TENANT)
    call = _next(scheduler)
    scheduler.take([question], "another")
    call.done({"companies": Listing(datetime.now(UTC), "")})
    assert not scheduler.unsaved
    scheduler.take([question], None)
    assert not scheduler.has_next
    with database.partner(PARTNER) as tx:
        scheduler.save(tx)
    assert "not_connected" in (_problem(database, question) or "")
