"""The work of a measurement: so many partners push so many lines each, and every line changes its addition."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from messages import BillingPeriod

PERIOD = BillingPeriod.parse("2026-11")
ADDITIONS_PER_PARTNER = 10_000

_TEXT = re.compile(r"(\d+)x(\d+)@(\d+)(?:/(\d+))?")


class Line(NamedTuple):
    """One company of a partner, and the users that it is to be billed for."""

    partner: int
    company: int
    users: int

    @property
    def addition(self) -> int:
        """The id of its addition; its agreement has the same."""
        return self.partner * ADDITIONS_PER_PARTNER + self.company


@dataclass(frozen=True)
class Scenario:
    """`latency` in seconds, of each answer of ConnectWise; `processes`: those of a contestant."""

    partners: int
    lines: int
    latency: float = 0.0
    processes: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PARTNERSxLINES@MILLISECONDS`, with `/PROCESSES` if there are several. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} is not like 100x30@0 or 100x30@0/2")
        partners, lines, milliseconds, processes = found.groups()
        return cls(int(partners), int(lines), int(milliseconds) / 1000, int(processes or 1))

    def __str__(self) -> str:
        """As `parse` takes it."""
        processes = f"/{self.processes}" if self.processes > 1 else ""
        return f"{self.partners}x{self.lines}@{self.latency * 1000:g}{processes}"

    def work(self, turn: int) -> Iterator[Line]:
        """The lines of a turn, partner by partner; each differs from those of the turns before and after."""
        for partner in range(1, self.partners + 1):
            for company in range(1, self.lines + 1):
                yield Line(partner, company, users(turn, company))

    def quantities(self, turn: int) -> Mapping[int, float]:
        """The quantity of each addition once the work of this turn is done, by its id."""
        return {line.addition: line.users for line in self.work(turn)}


def users(turn: int, company: int) -> int:
    """The users of a company in this turn."""
    return 10 + turn + company
