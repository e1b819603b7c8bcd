"""Files that LibreOffice saves, as CSV in two locales and as XLSX: the right numbers, or a refusal that helps."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from store.mappings import Mapping as StoredMapping
from tests.support.libreoffice import FORMATS, Computed, Merged, Shown, Table, convert, document
from worker.spreadsheet import SpreadsheetError, read_counts, read_mappings, write_mappings

NAMES = ("company_id", "company_name", "billable_users")
ACME, MUELLER = ("c-1", "Acme", 42), ("c-2", "Müller, Söhne", 7)
PLAIN = (NAMES, ACME, MUELLER)
BOTH = {"c-1": 42, "c-2": 7}

Outcome = dict[str, int] | str
"""Users by company, or what a refusal says."""

ALIKE: dict[str, tuple[str, Outcome]] = {
    "plain": (document(Table(PLAIN)), BOTH),
    "title": (document(Table([[Merged("Users, November", columns=3)], [], *PLAIN])), BOTH),
    "words": (document(Table([("Company ID", "Company Name", "Billable Users"), ACME, MUELLER])), BOTH),
    "empty rows and columns": (document(Table([(None, *NAMES), (), (None, *ACME), (), (None, *MUELLER)])), BOTH),
    "numbers as text": (document(Table([NAMES, ("c-1", "Acme", "42"), MUELLER])), BOTH),
    "decimals": (document(Table([NAMES, ("c-1", "Acme", Shown(42, "decimals")), MUELLER])), BOTH),
    "formulas": (
        document(Table([NAMES, ("c-1", "Acme", Computed("6*7")), MUELLER, ("Total", "", Computed("SUM([.C2:.C3])"))])),
        BOTH,
    ),
    "ids as numbers": (document(Table([NAMES, (101, "Acme", 42), (102, "Initech", 7)])), {"101": 42, "102": 7}),
    "ids with zeros": (document(Table([NAMES, ("007", "Acme", 42)])), {"007": 42}),
    "old sheet hidden": (
        document(Table(PLAIN, "Nov"), Table([NAMES, ("c-1", "Acme", 1)], "Oct", is_hidden=True)),
        BOTH,
    ),
    "an error": (
        document(Table([NAMES, ("c-1", Computed("NA()"), 42)])),
        '"#N/A" is the error of a formula; correct it',
    ),
    "an id rounded": (
        document(Table([NAMES, (123456789012345678, "Acme", 42)])),
        "is an id that a spreadsheet took for",
    ),
}
APART: dict[str, tuple[str, tuple[Outcome, Outcome, Outcome]]] = {
    "thousands": (
        document(Table([NAMES, ("c-1", "Acme", Shown(1234, "thousands"))])),
        (
            {"c-1": 1234},
            '"1,234" may be 1234 or a fraction; write digits only',
            '"1.234" may be 1234 or a fraction; write digits only',
        ),
    ),
    "hidden row": (
        document(Table(PLAIN, hidden_rows=frozenset({3}))),
        ("row 3: the row is hidden", BOTH, BOTH),
    ),
    "two months": (
        document(Table(PLAIN, "Nov"), Table([NAMES, ("c-1", "Acme", 1)], "Oct")),
        ("leave only one sheet", BOTH, BOTH),
    ),
    "a date": (
        document(Table([NAMES, ("c-1", "Acme", date(2026, 11, 5))])),
        (
            "2026-11-05 is a date or a time; format the column as number",
            '"5.11" is not a whole number',
            '"5.11" is not a whole number',
        ),
    ),
    "users merged": (
        document(Table([NAMES, ("c-1", "Acme", Merged(42, rows=2)), ("c-2", "Initech")])),
        (
            "row 3, column billable_users: belongs to the merged cells C2:C3; unmerge them",
            "line 3, column billable_users: is empty",
            "line 3, column billable_users: is empty",
        ),
    ),
    "a fraction": (
        document(Table([NAMES, ("c-1", "Acme", 41.6)])),
        ('"41.6" is not a whole number', '"41.6" is not a whole number', '"41,6" is not a whole number'),
    ),
}
DOCUMENTS = {name: (content, (outcome,) * 3) for name, (content, outcome) in ALIKE.items()} | APART
"""The documents by name, each with its outcome in each of FORMATS."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each format, with all documents."""
    folder = tmp_path_factory.mktemp("libreoffice")
    for name, (content, _) in DOCUMENTS.items():
        (folder / f"{name}.fods").write_text(content, "utf-8")
    return {kind: convert(sorted(folder.glob("*.fods")), kind, folder) for kind in (*FORMATS, "xls", "ods")}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_libreoffice_saves(saved: dict[str, Path], name: str, kind: str) -> None:
    """A file that LibreOffice saved gives exactly the numbers that its sheet shows, or is refused with what to do."""
    expected = DOCUMENTS[name][1][list(FORMATS).index(kind)]
    file = saved[kind] / f"{name}.{kind[:4].strip()}"
    if isinstance(expected, str):
        with pytest.raises(SpreadsheetError) as caught:
            read_counts(file)
        assert expected in str(caught.value)
        assert str(caught.value).startswith(file.name)
    else:
        assert {line.company_id: line.billable_users for line in read_counts(file)} == expected


@pytest.mark.parametrize("kind", ["xls", "ods"])
def test_other_workbooks_are_refused(saved: dict[str, Path], kind: str) -> None:
    """A workbook that is no XLSX is refused with the request to save it as one."""
    with pytest.raises(SpreadsheetError, match=r"plain\.\w+: .*; open it in Excel .* save it as \.xlsx"):
        read_counts(saved[kind] / f"plain.{kind}")


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_that_was_opened_and_saved_changes_nothing(tmp_path: Path, kind: str) -> None:
    """Exported mappings are the same after LibreOffice has saved them, also ids and names like numbers and dates."""
    at = datetime(2026, 11, 22, 10, tzinfo=UTC)
    ids = ("c-1", "00123", "123", "1E5", "1E+05", "1.0", "3-12", "-c", "TRUE", "12345678901234567890", "1,234")
    names = ("Müller & Söhne", 'Hart, "HM"; Sons', "=cmd|' /C calc'!A0", "'quoted'", " padded ", "May 3", "1/2", "24/7")
    rows = [(company_id, "Acme") for company_id in ids] + [(f"n-{n}", name) for n, name in enumerate(names)]
    ids_of = {0: (None, None, None), 1: (250, None, None), 2: (250, 7, None), 3: (250, 7, 2_147_483_647)}
    stored = [
        StoredMapping(
            "msp-1", company_id, at, "m", name, *ids_of[n % 4], rule=("refuse", "sum")[n % 2], minimum=minimum
        )
        for n, ((company_id, name), minimum) in enumerate(zip(rows, [None, 0, 5, 1_000_000] * 5, strict=False))
    ]
    exported = tmp_path / "mappings.csv"
    exported.write_text(write_mappings(stored), "utf-8-sig", newline="")
    once = convert([exported], kind, tmp_path) / f"mappings.{kind[:4].strip()}"
    twice = convert([once], kind, tmp_path / "again") / once.name if kind == "xlsx" else once
    kept = ("company_id", "company_name", "cw_company_id", "agreement_id", "addition_id", "rule", "minimum")
    for file in (exported, once, twice):
        read = read_mappings(file, "msp-1", at)
        assert [[getattr(one, n) for n in kept] for one in read] == [[getattr(one, n) for n in kept] for one in stored]
