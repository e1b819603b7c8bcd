"""The suggestions that were asked for last, as far as they are answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from messages import CatalogListed, Problem, Suggestion
from store import Tx, portal
from worker.coordination.suggesting import REASONS, by_company


@dataclass(frozen=True)
class Asked:
    """The suggestions that were asked for last: how many answers are still missing, and what the others say."""

    found: Mapping[str, Sequence[Suggestion]]
    missing: int = 0
    answered: int = 0
    problem: Problem | None = None

    @property
    def reasons(self) -> Mapping[str, str]:
        """The words for the likeness of names."""
        return REASONS


def read(tx: Tx, partner: str) -> Asked:
    """The suggestions that were asked for last."""
    answers, awaited = portal.answers(tx, partner)
    given = [CatalogListed.model_validate_json(answer, extra="ignore") for answer in answers]
    return Asked(
        by_company([suggestion for one in given for suggestion in one.suggestions]),
        awaited,
        len(given),
        next((one.problem for one in given if one.problem is not None), None),
    )
