"""Numbers of a workbook that are not what a reader of it sees are refused, with their place and a remedy."""

from pathlib import Path

import pytest

from tests.support.samples import minute
from tests.support.xlsx import Formatted, Page, Struck, workbook
from worker.spreadsheet import SpreadsheetError, read_counts, read_mappings

NAMES = ("company_id", "company_name", "billable_users")
MAPPING = ("company_id", "company_name", "cw_company_id", "agreement_id", "addition_id", "rule", "minimum")


def _file(folder: Path, content: bytes) -> Path:
    file = folder / "file.xlsx"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "code",
    [
        "0",
        "#,##0",
        "#,##0.00",
        "0.00%",
        '0 "users, 000"',
        '_-* #,##0\\ "€"_-;-* #,##0\\ "€"_-',
        '_(* #,##0_);_(* \\(#,##0\\);_(* "-"??_);_(@_)',
        "[Red][>1000]#,##0;0",
        "0.00E+00",
        "General;-00;00",
        '[=1]"one";0',
    ],
)
def test_a_number_is_read_in_formats_that_show_it(tmp_path: Path, code: str) -> None:
    """The formats of amounts, of shares and of any language change nothing."""
    content = workbook(Page((NAMES, ("c-1", "Acme", Formatted(21)))), formats=[code])
    (line,) = read_counts(_file(tmp_path, content))
    assert line.billable_users == 21


@pytest.mark.parametrize(
    "code",
    [
        "0,",
        "#,##0,",
        '0.0,,"M"',
        "#,##0,;-#,##0,",
        "00000",
        "000-0000",
        "[Red]00",
        '[<100]0;0,"k"',
        ";;;",
        '"none";-0',
    ],
)
def test_a_number_is_refused_in_a_format_that_shows_another(tmp_path: Path, code: str) -> None:
    """21,000 that shows as 21 is not pushed as 21,000, nor is an id that shows as 00101 taken for 101."""
    for row in (("c-1", "Acme", Formatted(21_000)), (Formatted(101), "Acme", 21)):
        content = workbook(Page((NAMES, row)), formats=[code])
        with pytest.raises(SpreadsheetError, match=r"row 2, column .*: the format of the cell shows another number"):
            read_counts(_file(tmp_path, content))


def test_what_is_struck_out_is_refused(tmp_path: Path) -> None:
    """A line through a number says that it is not meant any more."""
    content = workbook(Page((NAMES, ("c-1", "Acme", 21), ("c-2", "Initech", Struck(7)))))
    with pytest.raises(SpreadsheetError, match="row 3, column billable_users: is struck out; delete the row"):
        read_counts(_file(tmp_path, content))


def test_quantities_that_nobody_sees_are_refused(tmp_path: Path) -> None:
    """A hidden minimum would be billed unseen; columns of ids may be hidden."""
    row = ("c-1", "Acme", 100, 20, 2000, "refuse", 500)
    content = workbook(Page((MAPPING, row), hidden_columns=frozenset({7})))
    with pytest.raises(SpreadsheetError, match='row 1: column "minimum" is hidden; show it, or delete it'):
        read_mappings(_file(tmp_path, content), "p1", minute(0))
    content = workbook(Page((MAPPING, row), hidden_columns=frozenset({1, 3, 4, 5})))
    (mapping,) = read_mappings(_file(tmp_path, content), "p1", minute(0))
    assert (mapping.cw_company_id, mapping.minimum) == (100, 500)


def test_a_number_that_was_cut_at_its_separator_is_refused(tmp_path: Path) -> None:
    """The unquoted 2,001 does not become company 2 and agreement 1."""
    file = tmp_path / "mappings.csv"
    file.write_text(f"{','.join(MAPPING)}\nm-1,One,2,001,,,,\n", encoding="utf-8")
    with pytest.raises(SpreadsheetError, match='line 2, column agreement_id: "001" begins with 0'):
        read_mappings(file, "p1", minute(0))
