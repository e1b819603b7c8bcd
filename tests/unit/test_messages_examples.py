"""The examples of the contract are what a platform meets: whole, valid, and in the worker's own words."""

from typing import Any

from cwclient import agreement_link
from messages import ConnectionChecked, Right, SyncResult
from messages.schemas import output_schema
from worker.problems import CATALOGUE, COMPANY_INQUIRE, MISSING, problem


def _example(kind: type[Any], field: str) -> Any:
    (found,) = output_schema(kind)["properties"][field]["examples"]
    return found


def test_the_problem_in_the_schemas_is_one_that_the_worker_tells() -> None:
    """Code, words, screen, person and link of the example belong together."""
    example = _example(SyncResult, "problem")
    told = problem("record_refused", said=example["said"])
    link = agreement_link("https://na.myconnectwise.net", "acmemsp", 7)
    assert example == told.model_copy(update={"link": link}).model_dump(mode="json")
    assert CATALOGUE[told.code].of_record


def test_the_right_in_the_schemas_is_one_that_the_worker_tells() -> None:
    """The missing right of the example comes with the remedy for that right."""
    fix = CATALOGUE[MISSING[COMPANY_INQUIRE]].fix
    assert _example(ConnectionChecked, "rights") == [Right(right=COMPANY_INQUIRE, state="denied", fix=fix).model_dump()]
