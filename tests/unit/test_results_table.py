"""Tables of results: a short label per row, each cause once below, readable in narrow and wide terminals."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from messages import BillingPeriod, Problem, SyncResult
from worker.cli.display import output, preview_totals, results_table
from worker.cli.display.wording import detail, fix, title
from worker.coordination.results import ResultRow
from worker.rules.problems import CATALOGUE, problem


@pytest.fixture(params=[60, 80, 120])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Columns of the terminal."""
    monkeypatch.setattr(output.out, "width", request.param)
    yield request.param
    output.out.width = 80


def row(number: int, status: str, why: Problem | None = None, **more: Any) -> ResultRow:
    """A line of company `number`, which has as many users."""
    result = SyncResult(
        partner_id="p",
        correlation_id="c",
        push_id="push",
        company_id=f"c-{number}",
        period=BillingPeriod.parse("2026-11"),
        requested_at=datetime(2026, 11, 22, 10, tzinfo=UTC),
        sequence=1,
        status=status,  # type: ignore[arg-type]
        problem=why,
        **more,
    )
    return ResultRow(f"c-{number}", f"Company number {number}", number, result)


def shown(rows: list[ResultRow], capsys: pytest.CaptureFixture[str]) -> str:
    """The output for these lines."""
    results_table.show(rows)
    return str(capsys.readouterr().out)


def flat(text: str) -> str:
    """The text without its lines."""
    return " ".join(text.split())


def test_a_cause_is_told_once_with_its_detail_and_whose_it_is(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows have a label; below, each cause stands once: how many, what exactly, what to do, and where."""
    shared = problem("shared_addition", addition=7118, companies=["Company number 1", "Company number 2"])
    since = [problem("addition_cancelled", since=datetime(2026, month, 1, tzinfo=UTC)) for month in (3, 4)]
    rows = [row(1, "failed", shared), row(2, "failed", shared), row(3, "failed", since[0]), row(4, "failed", since[1])]
    text = shown([*rows, row(5, "updated", quantity_before=18, quantity_after=21)], capsys)
    assert max(map(len, text.splitlines())) <= width
    told = flat(text)
    assert "18 → 21 ✓ updated" in told
    assert (
        "✗ 2 companies: One addition, several companies. Addition 7118 is shared by Company number 1, Company number 2,"
        in told
    )
    assert "✗ 2 companies: The addition is cancelled. Company number 3: In ConnectWise the addition" in told
    assert told.count("Map this company to an addition that is active") == 1
    assert "cancelled date is 2026-03-01. Company number 4:" in told
    assert "Where in ConnectWise: Finance > Agreements > the agreement > Additions" in told


def test_a_reason_of_the_connection_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """500 lines that fail as the keys are refused are one note of a few lines; what else there is stays a row."""
    refused = problem("bad_credentials")
    text = shown([row(1, "unchanged", quantity_before=1), *(row(n, "failed", refused) for n in range(2, 502))], capsys)
    assert text.count(refused.title) == 1
    assert f"✗ 500 companies: {refused.title}." in flat(text)
    assert len(text.splitlines()) < 20
    assert "Company number 1 " in text


def test_each_reason_and_warning_is_told_with_the_company(capsys: pytest.CaptureFixture[str]) -> None:
    """A second reason, or a warning, is not in the row, so below the table it names the company."""
    reasons = (problem("zero", before=9), problem("older_period", newest="2026-12"))
    warning = problem("maybe_invoiced", next_invoice="2027-01-01")
    rows = [
        row(1, "held", reasons[0], reasons=reasons, quantity_before=9, quantity_wanted=0),
        *(row(n, "preview", quantity_before=1, quantity_wanted=2, warnings=(warning,)) for n in (2, 3)),
    ]
    told = flat(shown(rows, capsys))
    assert "9 → 0 ✗ held: No users any more" in told
    assert "✗ Company number 1: An older billing period." in told
    assert (
        "! 2 companies: The period may be invoiced already. Company number 2, Company number 3: The agreement" in told
    )


def test_a_preview_has_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """The last lines of a preview say how many lines change, users and money, before and after; a sum counts once.

    What no confirmation lets through is in none of them.
    """
    of_sum: dict[str, Any] = {
        "quantity_before": 40, "quantity_wanted": 43, "difference": 3, "amount": 107.5, "amount_difference": 7.5,
    }  # fmt: skip
    zero, incomplete = problem("zero", before=9), problem("group_incomplete", missing=["Company number 7"])
    rows = [
        row(1, "preview", **of_sum),
        row(2, "preview", **of_sum),
        row(3, "preview", quantity_before=5, quantity_wanted=5, difference=0, amount=10, amount_difference=0),
        row(4, "preview", quantity_before=1, quantity_wanted=2, difference=1),
        row(5, "held", zero, reasons=(zero,), quantity_before=9, quantity_wanted=0, difference=-9, amount=0,
            amount_difference=-18),
        row(6, "held", incomplete, reasons=(incomplete,)),
    ]  # fmt: skip
    preview_totals.show(rows, {"c-1": (4, 7), "c-2": (4, 7)})
    told = flat(capsys.readouterr().out)
    assert "This push: 3 of 4 lines change; users 46 → 50 (+4); amount 110.00 → 117.50 (+7.50), without 1" in told
    assert "Held, until confirmed: 1 of 1 line change; users 9 → 0 (-9); amount 18.00 → 0.00 (-18.00)." in told


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_command_line_speaks_to_who_types(code: str) -> None:
    """At a terminal nobody is sent to support, or told to upload: commands, options and settings are named."""
    entry = CATALOGUE[code]
    made = Problem(code=code, title=entry.title, detail=entry.detail, fix=entry.fix, who=entry.who)
    told = f"{title(made)} {detail(made)} {fix(made)}".lower()
    assert not any(
        word in told for word in ("contact support", "ask support", "upload", "we are", "enter the", "new push")
    )


def test_a_line_of_a_preview_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The title says that it is a preview; a row has its quantities and its amount, with what that changes by."""
    output.out.width = 60
    amounts: tuple[dict[str, Any], ...] = (
        {"amount": 52.5, "amount_difference": 7.5},
        {"amount": 35.0, "amount_difference": 0.0},
    )
    previewed: dict[str, Any] = {"mode": "preview", "quantity_before": 18, "quantity_wanted": 21}
    rows = [row(number, "preview", **previewed, **amount) for number, amount in enumerate(amounts, 1)]
    lines = [line.rstrip() for line in shown(rows, capsys).splitlines()]
    output.out.width = 80
    assert lines[0] == "Preview of 2026-11: nothing is written."
    assert "Result, amount" in lines[1]
    assert [line.split("18 → 21")[1].split(maxsplit=1)[1] for line in lines[3:5]] == ["52.50 (+7.50)", "35.00"]
