"""Replay, discard and restore: a dry run says what would be done, then it is begun and carried out."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from starlette.responses import Response

from store import Tx, dead_letter_queries, operations
from store.database import now
from store.dead_letter_queries import DeadLetterFilter
from store.operation_queries import Kind, Operation
from worker.operations import conduct
from worker.operations.preview import ReplayPreview, preview_replay
from worker.topology import KINDS
from worker.web.console import filters
from worker.web.console.filters import Chosen
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.times import time_of
from worker.web.visit import Refusal, Visit

KIND_WORDS = {"replay": "Replay", "discard": "Discard", "restore": "Restore"}
LOOKED_INTO = 200
"""A dry run reads the bodies of so many letters to find what newer pushes have overtaken."""


class _NotAsShown(Exception):
    """Other letters match than the dry run has shown."""


@dataclass(frozen=True)
class Choice:
    """The subject of an action: letters by their ids, or all that match a filter and failed `before` the dry run."""

    kind: Kind
    ids: tuple[str, ...]
    chosen: Chosen
    before: datetime | None = None

    @property
    def letters(self) -> DeadLetterFilter:
        """The letters."""
        if self.ids:
            return filters.of_ids(self.ids)
        letters, ends = self.chosen.letters, [self.before] if self.before is not None else []
        if isinstance(letters.until, datetime):
            ends.append(letters.until)
        return replace(letters, until=min(ends)) if ends else letters

    def looked_at(self, at: datetime) -> "Choice":
        """The choice of a dry run at this time: what fails later is not of it."""
        return self if self.ids else replace(self, chosen=self.chosen.fixed_at(at), before=at)


def check(visit: Visit) -> Response:
    """The dry run: what would be done, what would be refused and why. It changes nothing."""
    return _outlook(visit, _choice(visit), "")


def begin(visit: Visit) -> Response:
    """Begin it, and show its progress. If other letters match than the dry run has shown, show that anew instead."""
    choice, why = _choice(visit), visit.field("why").strip() or None
    if choice.kind == "discard" and why is None:
        return _outlook(visit, choice, "Say why nothing is to be done about them: it is kept with each.")
    try:
        operation = _begun(visit, choice, why)
    except _NotAsShown:
        return _outlook(visit, choice, "Other letters match now than the dry run has shown. Look at them again.", 409)
    visit.site.begun.set()
    return visit.go("/console/operations/one", id=operation.id)


def _begun(visit: Visit, choice: Choice, why: str | None) -> Operation:
    """Raises _NotAsShown, which takes back what was begun."""
    with visit.site.database.begin() as tx:
        operation = conduct.begin(tx, choice.kind, choice.letters, by=visit.by, why=why, origin="page")
        if not choice.ids and (choice.before is None or visit.field("count") != str(operation.total)):
            raise _NotAsShown
    return operation


def _choice(visit: Visit) -> Choice:
    kind = visit.field("kind")
    if kind not in KIND_WORDS:
        raise Refusal(400, "There is no such action", "Go back, and choose one.")
    chosen = filters.readable(filters.read(lambda name: visit.field(f"f_{name}")))
    ids = tuple(dict.fromkeys(visit.fields("id")))
    if not ids and visit.field("everything") != "yes":
        raise Refusal(400, "No dead letter is chosen", "Choose some, or choose all that match.")
    if visit.field("everything") != "yes":
        return Choice(cast("Kind", kind), ids, chosen)
    choice, before = Choice(cast("Kind", kind), (), chosen), time_of(visit.field("before"))
    return choice if before is None else choice.looked_at(before)


def _outlook(visit: Visit, choice: Choice, problem: str, status: int = 422) -> Response:
    with visit.site.database.begin() as tx:
        choice = choice.looked_at(now(tx))
        able, refused = operations.outlook(tx, choice.kind, choice.letters, tuple(KINDS))
        looked = _looked_into(tx, choice)
    preview = preview_replay(visit.site.database, looked) if choice.kind == "replay" else ReplayPreview({}, 0, 0)
    able_count = sum(number for _, _, number in able)
    return visit.page(
        "console/check.html",
        status if problem else 200,
        choice=choice,
        word=KIND_WORDS[choice.kind],
        able=able,
        able_count=able_count,
        refused=refused,
        count=able_count + sum(refused.values()),
        preview=preview,
        looked=len(looked),
        why=visit.field("why"),
        problem=problem,
    )


def _looked_into(tx: Tx, choice: Choice) -> list[str]:
    if choice.kind != "replay":
        return []
    able = DeadLetterFilter(**{**choice.letters.__dict__, "state": operations.NEEDED_STATE[choice.kind]})
    return dead_letter_queries.ids(tx, able, LOOKED_INTO)


PAGES = (
    Page("POST", "/console/letters/check", Right.WRITE, check),
    Page("POST", "/console/letters/begin", Right.WRITE, begin),
)
