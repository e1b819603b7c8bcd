"""A job: the work on one addition, on its way through a run.

Made by `due_work`, moved on by `transitions`, stored by `commit`.
"""

from collections.abc import Collection
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from datetime import datetime

from cwclient import Addition as ActualAddition
from cwclient import Agreement as ActualAgreement
from messages import LineStatus, Problem
from store.ledger import Closing, MismatchedWrite, OpenEntry
from store.mappings import Addition, Mapping
from store.pushes import Line
from store.targets import Target
from worker.checks.mapping_check import ToCheck
from worker.rules import quantities

SUCCEEDED = frozenset({"updated", "unchanged"})


@dataclass(frozen=True)
class Member:
    """A line that a job answers, and the rows that it was decided with. `target` is None in a preview."""

    line: Line
    wanted: quantities.WantedLine
    mapping: Mapping | None
    target: Target | None


@dataclass(frozen=True)
class Final:
    """The final status of a job's members; with a `dead_letter_reason` their lines become dead letters too.

    `perhaps_written`: it failed after a write that may have changed the quantity.
    `instead`: the problem of a company, by its id, where it is another one than `problem`.
    """

    status: LineStatus
    problem: Problem | None = None
    before: float | None = None
    after: float | None = None
    actual: ActualAddition | None = None
    dead_letter_reason: str | None = None
    perhaps_written: bool = False
    reasons: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    instead: Map[str, Problem] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryAt:
    """Try again at `until`. A problem is reported as `retrying`; `counts` = it was an attempt of the line's own."""

    until: datetime
    problem: Problem | None = None
    counts: bool = True


@dataclass
class Job:
    """One addition's work, on its way: read, then perhaps written. `outcome` None at the end = decide again.

    `summed`: lines of the same push that are counted in the quantity, but are not answered by this job.
    `sharing`: the mappings behind the quantity, as last checked; none if a revert puts it back.
    `left`: the quantities that the push which a revert takes back may have left.
    `previous`: a write before this run whose end is not known. `entry`: the open ledger row of this job's own write,
    which begins by `start_by` and may take so many `seconds` (None = no limit of its own).
    `shown`: the other quantity that the answer to that write showed.
    """

    members: list[Member]
    addition: Addition | None = None
    summed: list[Line] = field(default_factory=list)
    quantity: float = 0
    preview: bool = False
    written: quantities.WriteHistory = field(default_factory=quantities.WriteHistory)
    left: Collection[float] = ()
    previous: OpenEntry | None = None
    actual: ActualAddition | None = None
    agreement: ActualAgreement | None = None
    sharing: list[ToCheck] = field(default_factory=list)
    entry: OpenEntry | None = None
    start_by: float = 0.0
    seconds: float | None = None
    closings: list[Closing] = field(default_factory=list)
    shown: MismatchedWrite | None = None
    outcome: Final | RetryAt | None = None

    @property
    def address(self) -> Addition:
        """The addition; only jobs without calls have none."""
        return self.addition or (0, 0)

    @property
    def lines(self) -> list[Line]:
        """All lines that make the quantity."""
        return [*(member.line for member in self.members), *self.summed]

    @property
    def tags(self) -> dict[str, object]:
        """The tags that log lines about it carry."""
        named: dict[str, object] = {"addition": self.addition}
        if self.members:
            push = self.members[0].line.push
            named |= {"push": push.push_id, "correlation_id": push.correlation_id}
        return named

    @property
    def attempts(self) -> int:
        """The number of times that its lines were tried before: the most of any one."""
        return max((member.target.attempts for member in self.members if member.target is not None), default=0)

    @property
    def first_failed_at(self) -> datetime | None:
        """Since when its lines have been failing."""
        failed = [member.target.first_failed_at for member in self.members if member.target is not None]
        return min((at for at in failed if at is not None), default=None)

    @property
    def is_decided(self) -> bool:
        """True if nothing is left to be written: there is an outcome, or nobody asked."""
        return self.outcome is not None or not self.members


def wanted_of(line: Line, *, cancelled: bool = False) -> quantities.WantedLine:
    """Return this line in the form that the rules decide about."""
    push = line.push
    return quantities.WantedLine(
        company_id=line.company_id,
        company_name=line.company_name,
        period=push.period,
        billable_users=line.billable_users,
        requested_at=push.requested_at,
        push_id=push.push_id,
        accepted_at=push.accepted_at,
        mapping_changed_at=line.mapping_changed_at,
        connection_changed_at=push.connection_changed_at,
        confirmation=line.confirmation,
        cancelled=cancelled,
        restore=line.restore,
    )
