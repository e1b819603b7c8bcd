"""Writing CSV files: what is written is read back exactly, and no spreadsheet program runs it."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.mappings import Mapping
from worker.cli import sample
from worker.spreadsheet import (
    SpreadsheetError,
    escape,
    escape_formula,
    read_counts,
    read_mappings,
    unescape,
    write_mappings,
)

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1+1"])
def test_a_formula_is_made_harmless(cell: str) -> None:
    """A cell that a spreadsheet program would run as a formula is written with a leading '."""
    assert escape(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["Acme;=cmd", "Acme; +1", "Acme\n-1", "a\r@x;=1", "a;'=1"])
def test_a_formula_within_a_cell_is_made_harmless(cell: str) -> None:
    """A spreadsheet that separates by semicolons takes what follows one for a cell of its own, and runs nothing."""
    for escaped in (escape(cell), escape_formula(cell)):
        assert not re.search(r"[;\r\n] *[=+\-@]", escaped)
    assert unescape(escape(cell)) == cell


@given(st.text(alphabet="'=+-@\t\r\n;a1 "))
def test_import_undoes_exactly_what_export_did(cell: str) -> None:
    """A cell comes back as it was, whatever it holds, quotes and formula signs included."""
    assert unescape(escape(cell)) == cell
    assert escape(cell)[:1] not in set("=+-@\t\r")


def test_an_exported_file_can_be_imported(tmp_path: Path) -> None:
    """Mappings with names that CSV or a spreadsheet would trip over are the same after export and import."""
    names = ['Hart, Moss "HM"; Sons', "=cmd|' /C calc'!A0", "Kältetechnik 株式会社", "'quoted'", " padded "]
    stored = [Mapping("msp-1", f"-c{n}", NOW, "m", name, 250, 7, 11, "sum", n) for n, name in enumerate(names)] + [
        Mapping("msp-1", "c-unmapped", NOW, "m", "Acme")
    ]
    file = tmp_path / "mappings.csv"
    file.write_text(write_mappings(stored), encoding="utf-8-sig", newline="")
    read = read_mappings(file, "msp-1", NOW)

    def content(one: object) -> tuple[object, ...]:
        names = ("company_id", "company_name", "cw_company_id", "agreement_id", "addition_id", "rule", "minimum")
        return tuple(getattr(one, name) for name in names)

    assert [content(one) for one in read] == [content(one) for one in stored]


def test_what_need_not_be_billable_has_a_column_if_there_is_any(tmp_path: Path) -> None:
    """The column is written and read back only where a mapping needs it: files without it are read as ever."""
    plain = Mapping("msp-1", "c-1", NOW, "m", "Acme", 250, 7, 11)
    allowed = replace(plain, company_id="c-2", allow_not_billable=True)
    without, both = write_mappings([plain]), write_mappings([plain, allowed])
    assert "allow_not_billable" not in without
    for text, allows in ((without, [False]), (both, [False, True]), (both.replace(",yes", ",TRUE"), [False, True])):
        file = tmp_path / "mappings.csv"
        file.write_text(text, encoding="utf-8")
        assert [event.allow_not_billable for event in read_mappings(file, "msp-1", NOW)] == allows
    file.write_text(both.replace(",yes", ",maybe"), encoding="utf-8")
    with pytest.raises(SpreadsheetError, match='line 3, column allow_not_billable: "maybe" is neither yes nor no'):
        read_mappings(file, "msp-1", NOW)


def test_the_sample_is_complete() -> None:
    """The sample that ships can be read: 25 companies with counts, of which one has no mapping at all."""
    counts, mappings = read_counts(sample.COUNTS), read_mappings(sample.MAPPINGS, "demo", NOW)
    assert len(counts) == 25
    assert {line.company_id for line in counts} - {event.company_id for event in mappings} == {"c-108"}
