"""The imported sum is the sum of what became of it, in the message and at the terminal."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from messages import LineStatus, Tally, Totals
from store.absent import NOT_BILLED, UnpushedCompany
from tests.support.samples import push, sync_result
from worker.cli.display import output
from worker.cli.display.totals import say_absent, say_sum
from worker.coordination.results import ResultRow
from worker.coordination.totals import WORDS, sum_of
from worker.rules.problems import CATALOGUE
from worker.sync.completion import absent_message, totals

LINES = st.lists(st.tuples(st.sampled_from([*get_args(LineStatus), "pending"]), st.integers(0, 50), st.booleans()))


def _rows(lines: Sequence[tuple[str, int, bool]]) -> list[ResultRow]:
    event = push("p-1", {f"c-{number}": users for number, (_, users, _) in enumerate(lines)} or None)
    made = []
    for line, (status, users, changes) in zip(event.lines, lines, strict=False):
        quantities = {"quantity_before": 7, "quantity_wanted": 8 if changes else 7}
        answer = None if status == "pending" else sync_result(event, line.company_id, status, **quantities)  # type: ignore[arg-type]
        made.append(ResultRow(line.company_id, line.company_name, users, answer))
    return made


@given(LINES)
def test_the_sum_at_the_terminal_closes(lines: list[tuple[str, int, bool]]) -> None:
    """The sum leaves out no line, be it cancelled, superseded or still waiting."""
    found = sum_of(_rows(lines))
    for place in (0, 1):
        assert found["imported"][place] == sum(found[name][place] for name in WORDS if name in found)
    assert found["imported"] == (len(lines), sum(users for _, users, _ in lines))


@given(st.lists(st.tuples(st.sampled_from(["written", "held", "cancelled"]), st.integers(0, 9), st.integers(0, 999))))
def test_the_sum_of_a_message_closes(terms: list[tuple[str, int, int]]) -> None:
    """A portal that adds up what became of the lines gets what was imported."""
    made = totals(terms)
    assert made.imported.users == sum(users for _, _, users in terms)
    assert made.written.companies == sum(companies for name, companies, _ in terms if name == "written")


def test_a_long_sum_stands_below_what_was_imported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a narrow terminal the terms that need another line are indented like the first ones."""
    monkeypatch.setattr(output.out, "width", 60)
    say_sum(sum_of(_rows([(status, 40, True) for status in get_args(LineStatus)])), "preview")
    first, *terms = capsys.readouterr().out.splitlines()
    assert first.startswith("Imported ")
    assert len(terms) > 1
    assert all(line.startswith("  ") and len(line) <= 60 for line in terms)


def test_a_sum_that_does_not_close_is_no_message() -> None:
    """A fault of ours in counting is an error, and never a sum that somebody bills by."""
    with pytest.raises(ValidationError, match="not the sum"):
        Totals(imported=Tally(companies=2, users=9), written=Tally(companies=1, users=9))


def test_what_a_preview_would_not_change_is_not_to_be_written() -> None:
    """The sum of a preview is that of the push: what is there already is counted as unchanged."""
    found = sum_of(_rows([("preview", 5, True), ("preview", 6, False)]))
    assert (found["written"], found["unchanged"]) == ((1, 5), (1, 6))


def test_thousands_that_are_absent_are_counted_and_some_named() -> None:
    """A push of one company of 5,000 makes no message of a megabyte; what is not known is not taken for nothing."""
    missing = [UnpushedCompany(f"c-{number:04}", "Acme", None if number == 1 else 2.5) for number in range(5_000)]
    made = absent_message(missing)
    assert (made.companies, made.quantity, made.unknown, len(made.named)) == (5_000, 2.5 * 4_999, 1, 1_000)


def test_only_what_is_known_to_be_billed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A coordinator is not told "0 users" of a company of which nobody knows how many are billed."""
    told_apart = [
        UnpushedCompany("c-1", "Acme", None),
        UnpushedCompany("c-2", "Initech", 0, not_billed=True),
        UnpushedCompany("c-3", "Hooli", 4),
    ]
    say_absent("this push", absent_message(told_apart[:1]))
    say_absent("this push", absent_message(told_apart[:2]))
    say_absent("this push", absent_message(told_apart))
    shown = " ".join(capsys.readouterr().out.split())
    assert shown == (
        "Mapped, not in this push: 1 company, still billed: not known: Acme (?) "
        "Mapped, not in this push: 2 companies, of these 1 not billed in ConnectWise, still billed: not known: "
        "Acme (?), Initech (not billed) "
        "Mapped, not in this push: 3 companies, of these 1 not billed in ConnectWise, still billed 4 users, "
        "of 1 not known: Acme (?), Initech (not billed), Hooli (4)"
    )


def test_the_problems_with_which_nothing_is_billed_are_those_of_the_catalogue() -> None:
    """A problem that is renamed does not turn silently into a company that is billed."""
    assert set(CATALOGUE) >= NOT_BILLED
