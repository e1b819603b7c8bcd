"""A run's questions for choices: which are under way, what they wait for, and what is to be stored."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from messages import CatalogRequested, Problem
from store import Database, StoreError, Tx, catalog
from store.catalog import Question
from worker.catalog.queries import AnswerSteps, ListCache, PoolCall
from worker.catalog.questions import AnswerFields, answer, event_of
from worker.rules.problems import problem

log = structlog.get_logger()


@dataclass(frozen=True)
class ScheduledCall:
    """A call that the run is to have made, and whom to tell what came of it: one of the three, once.

    `not_made`: the question is begun anew when it is taken again.
    """

    call: PoolCall
    done: Callable[[Any], None]
    failed: Callable[[Problem], None]
    not_made: Callable[[], None]


@dataclass
class _Inquiry:
    """A question on its way; `missing` = how many of the results that its step waits for."""

    message_id: str
    event: CatalogRequested
    steps: AnswerSteps
    calls: deque[tuple[int, PoolCall]] = field(default_factory=deque)
    results: list[Any] = field(default_factory=list)
    missing: int = 0
    over: bool = False

    @property
    def is_long(self) -> bool:
        """True if it may take many requests."""
        return self.event.kind in {"companies", "suggestions"}


class Scheduler:
    """Only the run's own thread uses it. One long question is under way at a time, and a short one beside it.

    So the next one of its kind finds what was read for the first.
    """

    def __init__(self, database: Database, partner_id: str, clock: Callable[[], datetime]) -> None:
        self._database, self._partner_id, self._clock = database, partner_id, clock
        self._shelf = ListCache(database, partner_id, "", clock)
        self._waiting: list[_Inquiry] = []
        self._begun: list[_Inquiry] = []
        self._answers: list[tuple[CatalogRequested, AnswerFields]] = []

    @property
    def has_next(self) -> bool:
        """True if there is a call to be made."""
        return any(inquiry.calls for inquiry in self._begun)

    @property
    def unsaved(self) -> int:
        """The number of lists and answers to be saved."""
        return len(self._shelf.read) + len(self._answers)

    def take(self, questions: Sequence[Question], tenant: str | None) -> None:
        """These are the questions that wait now; `tenant`: of which ConnectWise, None = it is not connected."""
        if tenant is None:
            self.forget()
            self._answers.extend((event_of(question), {"problem": problem("not_connected")}) for question in questions)
            return
        if tenant != self._shelf.tenant:
            self.forget()
            self._shelf = ListCache(self._database, self._partner_id, tenant, self._clock)
        begun = {inquiry.message_id for inquiry in self._begun}
        new = [(question, event_of(question)) for question in questions if question.message_id not in begun]
        self._waiting = [_Inquiry(one.message_id, event, self._shelf.steps(one, event)) for one, event in new]
        self._begin()

    def next(self) -> ScheduledCall | None:
        """A call to be made; None = none for now."""
        inquiry = next((inquiry for inquiry in self._begun if inquiry.calls), None)
        if inquiry is None:
            return None
        place, call = inquiry.calls.popleft()
        done = partial(self._done, inquiry, place, call)
        return ScheduledCall(call, done, partial(self._failed, inquiry), partial(self._put_back, inquiry))

    def save(self, tx: Tx) -> None:
        """Keep what was read, and let the answers leave."""
        catalog.keep(tx, self._partner_id, self._shelf.tenant, self._shelf.unsaved())
        for event, found in self._answers:
            answer(tx, event, found)
        self._shelf.read.clear()
        self._answers.clear()

    def forget(self) -> None:
        """Begin all anew: another connection has been saved."""
        for inquiry in self._begun:
            inquiry.over = True
        self._waiting, self._begun, self._answers = [], [], []
        self._shelf.read.clear()

    def _begin(self) -> None:
        """Begin what may go on beside what is under way."""
        for inquiry in list(self._waiting):
            if all(other.is_long != inquiry.is_long for other in self._begun):
                self._waiting.remove(inquiry)
                self._begun.append(inquiry)
                self._advance(inquiry, None)

    def _advance(self, inquiry: _Inquiry, results: list[Any] | None) -> None:
        """Go on until calls are needed, or to the answer."""
        try:
            calls = next(inquiry.steps) if results is None else inquiry.steps.send(results)
        except StopIteration as end:
            self._end(inquiry, end.value)
        except StoreError:
            raise
        except Exception:
            log.exception("question.failed", question=inquiry.message_id)
            self._end(inquiry, {"problem": problem("unexpected")})
        else:
            inquiry.calls = deque(enumerate(calls))
            inquiry.results, inquiry.missing = [None] * len(calls), len(calls)

    def _done(self, inquiry: _Inquiry, place: int, call: PoolCall, result: Any) -> None:  # noqa: ANN401 - the call's result
        if inquiry.over:
            return
        if call.asks:
            self._shelf.read |= result
        inquiry.results[place] = result
        inquiry.missing -= 1
        if not inquiry.missing:
            self._advance(inquiry, inquiry.results)
            self._begin()

    def _failed(self, inquiry: _Inquiry, problem: Problem) -> None:
        if not inquiry.over:
            self._end(inquiry, {"problem": problem})
            self._begin()

    def _put_back(self, inquiry: _Inquiry) -> None:
        if not inquiry.over:
            inquiry.over = True
            self._begun.remove(inquiry)

    def _end(self, inquiry: _Inquiry, found: AnswerFields) -> None:
        inquiry.over = True
        self._begun.remove(inquiry)
        self._answers.append((inquiry.event, found))
