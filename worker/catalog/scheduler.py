"""The scheduler of a run's questions for choices: it hands out their calls, and keeps what is to be stored."""

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
    """A call that the run makes for a question. The run then calls one of the three functions, once.

    `done` takes the result, `failed` the problem; `put_back`: the call was not made, the question is begun anew later.
    """

    call: PoolCall
    done: Callable[[Any], None]
    failed: Callable[[Problem], None]
    put_back: Callable[[], None]


@dataclass
class _RunningQuestion:
    """A question under way; `missing`: the number of results that its current step still waits for."""

    message_id: str
    event: CatalogRequested
    steps: AnswerSteps
    calls: deque[tuple[int, PoolCall]] = field(default_factory=deque)
    results: list[Any] = field(default_factory=list)
    missing: int = 0
    is_over: bool = False

    @property
    def is_long(self) -> bool:
        """True if it may take many requests."""
        return self.event.kind in {"companies", "suggestions"}


class Scheduler:
    """One long question is under way at a time, and a short one beside it. Only the run's own thread uses it.

    So the next question of a kind finds the lists that were read for the first.
    """

    def __init__(self, database: Database, partner_id: str, clock: Callable[[], datetime]) -> None:
        self._database, self._partner_id, self._clock = database, partner_id, clock
        self._lists = ListCache(database, partner_id, "", clock)
        self._waiting: list[_RunningQuestion] = []
        self._begun: list[_RunningQuestion] = []
        self._answers: list[tuple[CatalogRequested, AnswerFields]] = []
        self.traceparents: set[str | None] = set()
        """The trace contexts of the questions that were taken last."""

    @property
    def has_next(self) -> bool:
        """True if there is a call to be made."""
        return any(question.calls for question in self._begun)

    @property
    def unsaved(self) -> int:
        """The number of lists and answers to be saved."""
        return len(self._lists.read) + len(self._answers)

    def take(self, questions: Sequence[Question], tenant: str | None) -> None:
        """Take the questions that wait now; `tenant`: the ConnectWise that they are for, None = it is not connected."""
        asked = [(question, event_of(question)) for question in questions]
        self.traceparents = {event.traceparent for _, event in asked}
        if tenant is None:
            self.forget()
            self._answers.extend((event, {"problem": problem("not_connected")}) for _, event in asked)
            return
        if tenant != self._lists.tenant:
            self.forget()
            self._lists = ListCache(self._database, self._partner_id, tenant, self._clock)
        begun = {question.message_id for question in self._begun}
        new = [(question, event) for question, event in asked if question.message_id not in begun]
        self._waiting = [
            _RunningQuestion(question.message_id, event, self._lists.steps(question, event)) for question, event in new
        ]
        self._begin()

    def next(self) -> ScheduledCall | None:
        """Return a call to be made; None = none for now."""
        question = next((question for question in self._begun if question.calls), None)
        if question is None:
            return None
        place, call = question.calls.popleft()
        done = partial(self._done, question, place, call)
        return ScheduledCall(call, done, partial(self._failed, question), partial(self._put_back, question))

    def save(self, tx: Tx) -> None:
        """Store the lists that were read, and send the answers."""
        catalog.keep(tx, self._partner_id, self._lists.tenant, self._lists.unsaved())
        for event, fields in self._answers:
            answer(tx, event, fields)
        self._lists.read.clear()
        self._answers.clear()

    def forget(self) -> None:
        """Begin all anew: another connection has been saved."""
        for question in self._begun:
            question.is_over = True
        self._waiting, self._begun, self._answers = [], [], []
        self._lists.read.clear()

    def _begin(self) -> None:
        """Begin the questions that may run beside those under way."""
        for question in list(self._waiting):
            if all(other.is_long != question.is_long for other in self._begun):
                self._waiting.remove(question)
                self._begun.append(question)
                self._advance(question, None)

    def _advance(self, question: _RunningQuestion, results: list[Any] | None) -> None:
        """Go on until calls are needed, or to the answer."""
        try:
            calls = next(question.steps) if results is None else question.steps.send(results)
        except StopIteration as end:
            self._end(question, end.value)
        except StoreError:
            raise
        except Exception:
            log.exception("question.failed", question=question.message_id)
            self._end(question, {"problem": problem("unexpected")})
        else:
            question.calls = deque(enumerate(calls))
            question.results, question.missing = [None] * len(calls), len(calls)

    def _done(self, question: _RunningQuestion, place: int, call: PoolCall, result: Any) -> None:  # noqa: ANN401
        if question.is_over:
            return
        if call.reads_connectwise:
            self._lists.read |= result
        question.results[place] = result
        question.missing -= 1
        if not question.missing:
            self._advance(question, question.results)
            self._begin()

    def _failed(self, question: _RunningQuestion, problem: Problem) -> None:
        if not question.is_over:
            self._end(question, {"problem": problem})
            self._begin()

    def _put_back(self, question: _RunningQuestion) -> None:
        if not question.is_over:
            question.is_over = True
            self._begun.remove(question)

    def _end(self, question: _RunningQuestion, fields: AnswerFields) -> None:
        question.is_over = True
        self._begun.remove(question)
        self._answers.append((question.event, fields))
