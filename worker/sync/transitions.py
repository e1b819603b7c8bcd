"""The transitions of a job: what an answer of ConnectWise, or an error, makes of it. Touches nothing but the job.

Called by `calls`. The decision itself is made by the rules (worker/rules/quantities.py); `commit` stores it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cwclient import Addition, Agreement, ConnectWiseError, QuantityNotKept, ServerTrouble, Unreachable
from messages import Problem
from store.ledger import Closing, LedgerEntry, MismatchedWrite, OpenEntry
from worker.checks.mapping_check import CheckedMapping, ToCheck, last_check
from worker.rules import billable, quantities
from worker.rules.errors import KeyUnreadable, NotStarted, RightRefused, Unconfirmed
from worker.rules.outcomes import ErrorOutcome, FailLine, PausePartner, RetryLine
from worker.rules.problems import exhausted, perhaps_written, problem
from worker.rules.retry import is_given_up
from worker.sync.job import Final, Job, RetryAt

# A quantity that did not stick is read again after this; other clients wait half as long (connectwise-api.md 6.1).
READ_AGAIN_AFTER = timedelta(seconds=5)

# Once it has been due for so long, the second read may find what a person has entered meanwhile.
READ_LATE_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Moment:
    """The time at which the result of a call is taken, how long a line may be retried, and which jump is too big."""

    now: datetime
    retry_for: timedelta
    unusual: quantities.JumpLimits


def mappings_in_doubt(job: Job, actual: Addition, agreement: Agreement | None, now: datetime) -> list[ToCheck]:
    """Return the mappings to check before the job is decided; `agreement`: if it was read too."""
    if not job.members or not job.sharing:
        return []
    wanted = [member.wanted for member in job.members]
    return [
        shared
        for shared in job.sharing
        if billable.needs_check(
            actual,
            agreement,
            shared.mapping,
            shared.facts,
            period=wanted[0].period,
            since=max(line.accepted_at for line in wanted),
            today=now.date(),
        )
    ]


def after_checks(job: Job, checked: Sequence[CheckedMapping]) -> None:
    """Take the new checks of the job's mappings."""
    messages = {check.mapping.company_id: check.message for check in checked if check.message is not None}
    for place, shared in enumerate(job.sharing):
        if (message := messages.get(shared.mapping.company_id)) is not None:
            job.sharing[place] = replace(shared, mapping=replace(shared.mapping, check_json=message.model_dump_json()))


def after_read(job: Job, actual: Addition, moment: Moment) -> None:
    """Decide what to do with the addition: the job gets its outcome, or is to be written (`outcome` None)."""
    job.actual = actual
    quantity, previous = actual.quantity, job.previous
    job.written = job.written.shown_by(quantity)
    wrote_it = previous is not None and quantity == previous.quantity_wanted
    if previous is not None and not job.preview:
        # A preview leaves the row to the push that opened it, whose line would not say any more that it wrote.
        job.closings.append(_closing_by_read(previous, quantity, moment.now))
    if not job.members:
        return
    # With another quantity (a company has joined the sum since) the line is decided about anew.
    if previous is not None and previous.quantity_wanted == job.quantity and _is_of_this_push(job):
        if not wrote_it and previous.http_status is not None:
            why = problem("not_kept", wanted=previous.quantity_wanted, got=quantity)
            before = previous.quantity_before
            job.outcome = Final("failed", why, before=before, actual=actual, perhaps_written=True)
            return
        if wrote_it and not job.preview:
            # The answer to that write was lost; this is how it ended, whatever has become of the addition since.
            job.outcome = Final("updated", before=previous.quantity_before, after=quantity, actual=actual)
            return
    match _decide(job, actual, moment):
        case quantities.Answer(status, why, reasons):
            instead = _problems(job, actual, moment) if status == "failed" else {}
            job.outcome = Final(status, why, before=quantity, actual=actual, reasons=reasons, instead=instead)
        case quantities.SetQuantity() | quantities.Unchanged() if job.preview:
            next_invoice = job.agreement.next_invoice_date if job.agreement else ""
            warnings = tuple(quantities.warnings(next_invoice, job.members[0].wanted.period))
            job.outcome = Final("preview", before=quantity, actual=actual, warnings=warnings)
        case quantities.Unchanged():
            job.outcome = Final("unchanged", before=quantity, after=quantity, actual=actual)
        case quantities.SetQuantity() if all(member.wanted.cancelled for member in job.members):
            job.outcome = Final("cancelled", problem("cancelled"), before=quantity, actual=actual)
        case quantities.SetQuantity() if previous is not None and _is_given_up(job, moment):
            # Written again and again without an answer, and now it is certain that none arrived.
            why = exhausted(problem("unreachable", reason="No answer to the change of the quantity."))
            job.outcome = Final("failed", why, before=quantity, actual=actual, dead_letter_reason="exhausted")
        case quantities.SetQuantity():
            pass  # outcome None: its ledger row is to be opened.


def _closing_by_read(previous: OpenEntry, quantity: float | None, now: datetime) -> Closing:
    """Return the end of a write whose addition holds this quantity now."""
    if quantity == previous.quantity_wanted:
        return Closing(previous.id, "written", quantity, previous.http_status)
    if previous.http_status is None:
        return Closing(previous.id, "not_applied", quantity, None)
    if quantity != previous.shown and now - previous.call_until > READ_LATE_AFTER:
        # It is neither the push's work nor what its answer showed: a revert must not take it back.
        return Closing(previous.id, "unknown", None, previous.http_status)
    return Closing(previous.id, "not_kept", quantity, previous.http_status)


def _decide(
    job: Job, actual: Addition, moment: Moment
) -> quantities.SetQuantity | quantities.Unchanged | quantities.Answer:
    first, restore = job.members[0].wanted, job.members[0].wanted.restore
    assessment = billable.assess(actual, _facts(job), first.period, moment.now.date())
    if restore is not None:
        holds = {restore.holds, *job.left}
        return quantities.decide_revert(actual, assessment=assessment, holds=holds, restore=restore.quantity)
    return quantities.decide(
        actual,
        assessment=assessment,
        quantity=job.quantity,
        period=first.period,
        written=job.written,
        confirmations=[line.confirmation for line in job.lines if line.confirmation is not None],
        jump_limits=moment.unusual,
    )


def _is_given_up(job: Job, moment: Moment) -> bool:
    return is_given_up(job.first_failed_at, moment.now, moment.retry_for)


def _problems(job: Job, actual: Addition, moment: Moment) -> dict[str, Problem]:
    """Return the problem of each company that shares the addition: its own mapping's, else whose mapping is refused.

    None of a revert, which puts back whatever the mappings are.
    """
    period, today = job.members[0].wanted.period, moment.now.date()
    refusals = [
        (shared.mapping, billable.assess(actual, [shared.facts], period, today).refused) for shared in job.sharing
    ]
    blamed, why_refused = next(((mapping, why) for mapping, why in refusals if why is not None), (None, None))
    if blamed is None or why_refused is None:
        return {}
    company = f"{blamed.company_name} ({blamed.company_id})"
    theirs = problem("sharing_refused", company=company, why=f"{why_refused.title}.")
    return {mapping.company_id: why or theirs for mapping, why in refusals}


def _facts(job: Job) -> list[billable.MappingFacts]:
    """Return the facts of the mappings that share the addition; of a revert only its agreement's days, if known.

    A revert writes what is not billable too, as the push that it takes back was allowed to.
    """
    if job.sharing:
        return [shared.facts for shared in job.sharing]
    facts = billable.MappingFacts(job.address[0], allows_not_billable=True)
    for member in job.members:
        check = last_check(member.mapping) if member.mapping and member.mapping.addition == job.addition else None
        if check is not None and check.agreement is not None:
            facts = replace(facts, agreement=check.agreement)
    return [facts]


def entry_of(job: Job) -> LedgerEntry:
    """Return the ledger row to open before this job's PATCH."""
    first = job.members[0].wanted
    return LedgerEntry(
        addition=job.address,
        push_id=first.push_id,
        period_key=first.period.key,
        period_start=first.period.start,
        period_end=first.period.end,
        company_ids=tuple(line.company_id for line in job.lines),
        quantity_before=job.actual.quantity if job.actual else None,
        quantity_wanted=float(job.quantity),
    )


def after_write(job: Job, actual: Addition) -> None:
    """Take ConnectWise's answer that it holds the quantity that was sent."""
    before = job.actual.quantity if job.actual else None
    if job.entry is not None:
        job.closings.append(Closing(job.entry.id, "written", actual.quantity, 200))
    job.outcome = Final("updated", before=before, after=actual.quantity, actual=actual)


def after_error(job: Job, error: BaseException, failure: ErrorOutcome, moment: Moment) -> None:
    """Take the error of the read or the write: close the ledger row, if its end is known, and set the outcome."""
    if isinstance(error, NotStarted):
        if job.entry is not None:
            job.closings.append(Closing(job.entry.id, "not_sent", None, None))
        return
    if job.entry is not None:
        if isinstance(error, QuantityNotKept):
            # A read that lags shows the former quantity although the new one is kept (connectwise-api.md 6.1).
            read_at = moment.now + READ_AGAIN_AFTER
            job.shown = MismatchedWrite(job.entry.id, error.got, error.status, read_at)
            job.outcome = RetryAt(read_at, counts=False)
            return
        if _may_be_applied(error):
            # The row stays open: nobody touches the addition until that call is certainly over, then it is read.
            job.outcome = RetryAt(job.entry.call_until, failure.problem)
            if isinstance(failure, FailLine):
                # A bug of ours, which the next write of this line would hit too.
                why = perhaps_written(failure.problem)
                job.outcome = Final(
                    "failed", why, actual=job.actual, dead_letter_reason="unexpected", perhaps_written=True
                )
            return
        job.closings.append(_closing_of_refused(job.entry.id, error))
    in_doubt = job.previous is not None and not job.preview and not job.closings and job.entry is None
    if in_doubt and job.previous is not None and isinstance(failure, FailLine):
        job.closings.append(Closing(job.previous.id, "unknown", None, job.previous.http_status))
    before = job.actual.quantity if job.actual else None
    match failure:
        case FailLine(why):
            dead_letter_reason = "unexpected" if why.code == "unexpected" else None
            why = perhaps_written(why) if in_doubt else why
            job.outcome = Final(
                "failed",
                why,
                before=before,
                actual=job.actual,
                dead_letter_reason=dead_letter_reason,
                perhaps_written=in_doubt,
            )
        case RetryLine(why) | PausePartner(why) if job.preview:
            # Somebody waits for a preview, so it says what stands in the way now.
            job.outcome = Final("failed", why, before=before, actual=job.actual)
        case RetryLine(why) if _is_given_up(job, moment):
            why = perhaps_written(exhausted(why)) if in_doubt else exhausted(why)
            job.outcome = Final(
                "failed", why, actual=job.actual, dead_letter_reason="exhausted", perhaps_written=in_doubt
            )
        case RetryLine(why, seconds):
            # However long ConnectWise asks to wait: the last attempt is made when the time for retries is up.
            last = (job.first_failed_at or moment.now) + moment.retry_for
            job.outcome = RetryAt(min(moment.now + timedelta(seconds=seconds), last), why)
        case PausePartner(why, seconds):
            job.outcome = RetryAt(moment.now + timedelta(seconds=seconds), why, counts=False)
        case _:
            pass  # FailPartner: the run answers every open line of the partner at once.


def _is_of_this_push(job: Job) -> bool:
    """True if the write whose end was not known is of the push that the job answers."""
    return job.previous is not None and job.previous.push_id in {member.wanted.push_id for member in job.members}


def _may_be_applied(error: BaseException) -> bool:
    if isinstance(error, Unconfirmed):
        return _may_be_applied(error.cause)
    if isinstance(error, Unreachable | ServerTrouble):
        return error.sent
    return not isinstance(error, ConnectWiseError | KeyUnreadable | RightRefused)


def _closing_of_refused(entry_id: int, error: BaseException) -> Closing:
    """Return the end, in the ledger, of a write that was certainly not applied as sent."""
    if isinstance(error, RightRefused):
        return Closing(entry_id, "refused", None, 403)
    cause = error.cause if isinstance(error, Unconfirmed) else error
    status = cause.status if isinstance(cause, ConnectWiseError) else None
    return Closing(entry_id, "not_sent" if status is None else "refused", None, status)
