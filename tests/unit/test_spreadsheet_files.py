"""Files of counts as people and programs make them, one oddity each: the right numbers, or a refusal that helps."""

import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.support.xlsx import Failed, Formula, Page, Shared, packed, workbook
from worker.spreadsheet import SpreadsheetError, read_companies, read_counts, read_mappings

HEADER = "company_id,company_name,billable_users"
NAMES = ("company_id", "company_name", "billable_users")
BOTH = {"c-1": 42, "c-2": 7}
ACME, INITECH = ("c-1", "Acme", 42), ("c-2", "Initech", 7)
TABS = ("company_id\tcompany_name\tbillable_users", "c-1\tMüller\t42", "c-2\tInitech\t7")
PLAIN = (NAMES, ACME, INITECH)
RAISED = '<r><rPr><vertAlign val="superscript"/></rPr><t>1</t></r>'
STRUCK = "<r><rPr><strike/></rPr><t>42</t></r>"


def page(*rows: tuple[object, ...], **more: object) -> bytes:
    """A workbook of one sheet."""
    return workbook(Page(rows, **more))  # type: ignore[arg-type]  # the rows of the tables below


def text(*lines: str) -> bytes:
    """A text as Excel on Windows ends its lines."""
    return "\r\n".join([*lines, ""]).encode()


READ: dict[str, tuple[bytes, dict[str, int]]] = {
    "title lines": (text("Billable users of November 2026,,", ",,", HEADER, "c-1,Acme,42", "c-2,Initech,7"), BOTH),
    "sep= line": (text("sep=;", HEADER.replace(",", ";"), "c-1;Acme;42", "c-2;Initech;7"), BOTH),
    "tabs": (text(*TABS), BOTH),
    "Unicode text of Excel": (text(*TABS).decode().encode("utf-16"), BOTH),
    "Windows-1252": (f"{HEADER}\r\nc-1,Müller & Söhne,42\r\nc-2,Café,7\r\n".encode("cp1252"), BOTH),
    "words for people": (text("Company ID,Company Name,Billable Users", "c-1,Acme,42", "c-2,Initech,7"), BOTH),
    "seats of clients": (text("Seats,Client,Company-ID", "42,Acme,c-1", "7,Initech,c-2"), BOTH),
    "line break in the header": (
        text('company_id,company_name,"Billable\nUsers"', "c-1,Acme,42", "c-2,Initech,7"),
        BOTH,
    ),
    "no last separators": (text("company_id,billable_users,company_name,", "c-1,42,Acme", "c-2,7,Initech,"), BOTH),
    "too many separators": (text(HEADER, "c-1,Acme,42,,,", "c-2,Initech,7", ",,,,,,"), BOTH),
    "empty columns": (text("company_id,,company_name,billable_users,", "c-1,,Acme,42,", "c-2,,Initech,7,"), BOTH),
    "no-break spaces": (text(HEADER, "\u00a0c-1,Acme,42\u00a0", "c-2 ,Initech,\u202f7", "\u00a0,,"), BOTH),
    "decimals": (text(HEADER, "c-1,Acme,42.0", 'c-2,Initech,"7,00"'), BOTH),
    "total that is right": (text(HEADER, "c-1,Acme,42", "c-2,Initech,7", ",,", "Total,,49"), BOTH),
    "total without a word": (text(HEADER, "c-1,Acme,42", "c-2,Initech,7", ",,49"), BOTH),
    "a company named Total": (text(HEADER, "c-1,Acme,42", "c-2,Total,7"), BOTH),
    "leading zeros": (text(HEADER, "007,Acme,42", "0042,Initech,7"), {"007": 42, "0042": 7}),
    "old Macintosh line ends": (text(HEADER, "c-1,Acme,42", "c-2,Initech,7").replace(b"\r\n", b"\r"), BOTH),
    "quoted line break": (text(HEADER, '"c-1",Acme,"42\n"', "c-2,Initech,7"), BOTH),
    "workbook": (page(*PLAIN), BOTH),
    "workbook with a title": (page(("November 2026", None, None), (), *PLAIN, merged=("A1:C1",)), BOTH),
    "workbook with numbers as text": (page(NAMES, ("c-1", "Acme", "42"), ("c-2", "Initech", " 7\u00a0")), BOTH),
    "workbook with ids as numbers": (page(NAMES, (101, "Acme", 42), (102.0, "Initech", 7)), {"101": 42, "102": 7}),
    "workbook with ids as text": (page(NAMES, ("1.0", "Acme", 42), ("1E+05", "In", 7)), {"1.0": 42, "1E+05": 7}),
    "workbook with results": (page(NAMES, ("c-1", "Acme", Formula("<v>42</v>")), INITECH, ("Total", None, 49)), BOTH),
    "workbook with a result of 0": (
        workbook(Page((NAMES, ("c-1", "Acme", Formula("<v>0</v>")))), properties="<calcPr/>"),
        {"c-1": 0},
    ),
    "workbook with an old sheet hidden": (
        workbook(Page((NAMES, ("c-1", "Acme", 1)), "Oct", "hidden"), Page(PLAIN, "Nov")),
        BOTH,
    ),
    "workbook with the rows below hidden": (page(*PLAIN, only_used=True), BOTH),
    "workbook with notes beside": (workbook(Page([["Ask Ana"]], "Notes"), Page(PLAIN, "Nov")), BOTH),
    "workbook far down": (page(*[()] * 400, *[(None, None, *row) for row in PLAIN]), BOTH),
    "texts kept as they are": (text(HEADER, '="c-1",="Acme",="42"', '"=""007""",Initech,7'), {"c-1": 42, "007": 7}),
    "workbook with bold digits and a raised sign": (
        workbook(
            Page((NAMES, ("c-1", Shared(0), Shared(1)), INITECH)),
            shared=[f"<r><t>Acme</t></r>{RAISED}", "<r><t>4</t></r><r><rPr><b/></rPr><t>2</t></r>"],
        ),
        BOTH,
    ),
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "users of any kind": (text("Company ID,Company Name,Users", "c-1,Acme,42"), 'line 1: column "Users" is not known'),
    "two columns of users": (
        text(f"{HEADER},Seats", "c-1,Acme,42,50"),
        'column billable_users is there twice: "billable_users", "Seats"',
    ),
    "a row above the header": (
        text("c-0,Hooli,9", HEADER, "c-1,Acme,42"),
        "line 1: has several cells, but stands above the header; remove it",
    ),
    "values without a header": (
        text("company_id,company_name,billable_users,", "c-1,Acme,42,9"),
        "line 2, column 4: is not empty, but has no name in the header; clear it",
    ),
    "a comma in a name": (
        text(HEADER, "c-1,Acme, Inc.,42"),
        "line 2: 4 columns, but the header has 3; quote a cell that holds the separator",
    ),
    "a comma, no users": (text(HEADER, "c-1,Acme, 7,"), "line 2: 4 columns, but the header has 3"),
    "thousands": (
        text(HEADER, 'c-1,Acme,"1,234"'),
        'line 2, column billable_users: "1,234" may be 1234 or a fraction; write digits only',
    ),
    "three zeros after a long number": (
        text(HEADER, 'c-1,Acme,"1000,000"'),
        'line 2, column billable_users: "1000,000" is not a whole number',
    ),
    "four zeros": (
        text(HEADER, 'c-1,Acme,"10,0000"'),
        'line 2, column billable_users: "10,0000" is not a whole number',
    ),
    "a fraction": (text(HEADER, "c-1,Acme,41.6"), 'line 2, column billable_users: "41.6" is not a whole number'),
    "a date": (
        text("Company ID,Client,Seats", "c-1,Acme,05.11.2026"),
        'line 2, column Seats: "05.11.2026" is not a whole number',
    ),
    "a negative": (text(HEADER, "c-1,Acme,-42"), 'line 2, column billable_users: "-42" is not a whole number'),
    "the error of a formula": (
        text(HEADER, "#N/A,Acme,42"),
        'line 2, column company_id: "#N/A" is the error of a formula; correct it',
    ),
    "the error of a name": (
        text(HEADER, "c-1,#REF!,42"),
        'line 2, column company_name: "#REF!" is the error of a formula; correct it',
    ),
    "an id in short": (
        text(HEADER, "1E+05,Acme,42"),
        'line 2, column company_id: "1E+05" is an id that a spreadsheet took for a number; format',
    ),
    "an id as a decimal": (
        text(HEADER, "1.0,Acme,42"),
        'line 2, column company_id: "1.0" is an id that a spreadsheet took for a number',
    ),
    "an id of 15 digits": (text(HEADER, "1234567890123450000,Acme,42"), "line 2, column company_id: "),
    "total that is wrong": (
        text(HEADER, "c-1,Acme,42", "c-2,Initech,7", "Total,,50"),
        "line 4, column billable_users: the total is 50, but the rows above add up to 49",
    ),
    "a company without a name": (text(HEADER, "c-1,Acme,42", ",,42"), "line 3, column company_id: is empty"),
    "a missing quotation mark": (
        text(HEADER, 'c-1,"Acme,42', 'c-2,Initech",7'),
        'line 2, column company_name: "Acme,42��c-2,Initech" has several lines, and a separator; write it in one line',
    ),
    "subtotals": (
        text(HEADER, "c-1,Acme,42", ",Acme Total,42", "c-2,Initech,7"),
        "line 3, column company_id: is empty",
    ),
    "a second header": (
        text(HEADER, "c-1,Acme,42", HEADER),
        'line 3, column billable_users: "billable_users" is not a whole number',
    ),
    "two files in one encoding each": (
        text(HEADER, "c-1,Müller,42") + "c-2,Köhler,7\r\n".encode("cp1252"),
        "line 3: not UTF-8; save the file as",
    ),
    "workbook with a fraction": (
        page(NAMES, ("c-1", "Acme", 41.6)),
        'sheet "Sheet1" row 2, column billable_users: "41.6" is not a whole number',
    ),
    "workbook with a date": (
        page(NAMES, ("c-1", "Acme", date(2026, 11, 5))),
        "row 2, column billable_users: 2026-11-05 is a date or a time; format",
    ),
    "workbook with a truth": (
        page(NAMES, ("c-1", "Acme", True)),
        "row 2, column billable_users: TRUE is neither a text nor a number",
    ),
    "workbook with an error": (
        page(NAMES, ("c-1", "Acme", Failed("#DIV/0!"))),
        'row 2, column billable_users: "#DIV/0!" is the error of a formula',
    ),
    "workbook with no result": (
        page(NAMES, ("c-1", "Acme", Formula("<v/>"))),
        "row 2, column billable_users: the formula was not calculated; open the file",
    ),
    "workbook with results that POI left at 0": (
        page(NAMES, ("c-1", "Acme", Formula("<v>0.0</v>"))),
        "row 2, column billable_users: the formula was not calculated; open the file",
    ),
    "workbook with invented results": (
        workbook(Page((NAMES, ("c-1", "Acme", Formula("<v>0</v>")))), properties='<calcPr fullCalcOnLoad="1"/>'),
        "row 2, column billable_users: the formula was not calculated; open the file",
    ),
    "workbook with an id rounded": (
        page(NAMES, (1.2345678901234568e18, "Acme", 42)),
        'row 2, column company_id: "1.2345678901234568e+18" is an id',
    ),
    "workbook with a filter": (
        page(*PLAIN, hidden={3}),
        "row 3: the row is hidden, maybe by a filter; show it, or delete it",
    ),
    "workbook with a row hidden of those it has": (
        page(*PLAIN, only_used=True, hidden={3}),
        "row 3: the row is hidden, maybe by a filter; show it, or delete it",
    ),
    "workbook with users merged": (
        page(NAMES, ACME, ("c-2", "Initech", None), merged=("C2:C3",)),
        "row 3, column billable_users: belongs to the merged cells C2:C3; unmerge them",
    ),
    "workbook of two months": (workbook(Page(PLAIN, "Oct"), Page(PLAIN, "Nov")), "leave only one sheet that has them"),
    "workbook all hidden": (page(*PLAIN, state="hidden"), "no sheet is visible; unhide"),
    "workbook with a cell far away": (
        page(NAMES, ACME, *[()] * 60_000, (None,) * 20 + ("x",)),
        "more than 1,000,000 cells; delete",
    ),
    "workbook with many sheets": (
        workbook(*(Page((NAMES, *[()] * 30_000, ((None,) * 20 + ("x",))), f"Sheet{n}") for n in (1, 2))),
        "more than 1,000,000 cells on all sheets together; keep only",
    ),
    "empty workbook": (page(), "the file is empty; its first line must be company_id,company_name,billable_users"),
    "OpenDocument": (
        packed({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<a/>"}),
        "another kind than .xlsx; open it in Excel",
    ),
    "workbook with a password": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
        "an older workbook, or one with a password; open it",
    ),
    "damaged workbook": (page(*PLAIN)[:-40], "damaged (File is not a zip file); open it"),
    "two numbers in a cell": (
        text(HEADER, 'c-1,Acme,"42\n107"'),
        'line 2, column billable_users: "42�107" has several lines; leave one value in the cell',
    ),
    "two ids in a cell": (
        text(HEADER, '"c-1\nc-2",Acme,42'),
        'line 2, column company_id: "c-1�c-2" has several lines; leave one value in the cell',
    ),
    "workbook with two numbers in a cell": (
        page(NAMES, ("c-1", "Acme", "42\n107")),
        'row 2, column billable_users: "42�107" has several lines; leave one value in the cell',
    ),
    "a price": (text("Company ID,Client,Seats ($)", "c-1,Acme,105"), 'line 1: column "Seats ($)" is not known'),
    "a share": (text("Company ID,Client,% Seats", "c-1,Acme,100"), 'line 1: column "% Seats" is not known'),
    "a difference": (text("Company ID,Client,Seats +/-", "c-1,Acme,3"), 'line 1: column "Seats +/-" is not known'),
    "workbook with a row of no height": (
        page(*PLAIN, flat={3}),
        "row 3: the row is hidden, maybe by a filter; show it, or delete it",
    ),
    "workbook with a footnote's mark": (
        workbook(Page((NAMES, ("c-1", "Acme", Shared(0)))), shared=[f"<r><t>42</t></r>{RAISED}"]),
        "row 2, column billable_users: some of its digits are struck out, raised or lowered; enter the number again",
    ),
    "workbook with a number struck out": (
        workbook(Page((NAMES, ("c-1", "Acme", Shared(1)))), shared=["<t>x</t>", f"{STRUCK}<r><t> 107</t></r>"]),
        "row 2, column billable_users: some of its digits are struck out, raised or lowered; enter the number again",
    ),
}


@pytest.mark.parametrize("oddity", READ)
def test_what_has_one_meaning_is_read(tmp_path: Path, oddity: str) -> None:
    """A file with an oddity that leaves no doubt gives exactly its companies and numbers."""
    content, users = READ[oddity]
    file = tmp_path / "counts"
    file.write_bytes(content)
    assert {line.company_id: line.billable_users for line in read_counts(file)} == users
    assert [company.company_id for company in read_companies(file)] == list(users)


@pytest.mark.parametrize("oddity", REFUSED)
def test_what_may_mean_something_else_is_refused(tmp_path: Path, oddity: str) -> None:
    """A file that may mean another number is refused with its name, the place, and what to do."""
    content, said = REFUSED[oddity]
    file = tmp_path / "counts.xlsx"
    file.write_bytes(content)
    with pytest.raises(SpreadsheetError) as caught:
        read_counts(file)
    assert said in str(caught.value)
    assert all(line.startswith("counts.xlsx") for line in str(caught.value).splitlines())


def test_a_truth_of_a_workbook_is_a_yes(tmp_path: Path) -> None:
    """In a column of yes or no, true and false are read as spreadsheets keep them, not only as they write them."""
    names = ("company_id", "company_name", "cw_company_id", "agreement_id", "addition_id", "rule", "minimum")
    mapped = [("c-1", "Acme", 1, 2, 3, "", "", True), ("c-2", "Initech", 1, 2, 4, "", "", False)]
    file = tmp_path / "mappings.xlsx"
    file.write_bytes(page((*names, "allow_not_billable"), *mapped))
    read = read_mappings(file, "msp-1", datetime(2026, 11, 22, tzinfo=UTC))
    assert [one.allow_not_billable for one in read] == [True, False]


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    """A workbook that would fill the memory when it is unpacked is refused before it does, whatever it says it has."""
    file = tmp_path / "bomb.xlsx"
    file.write_bytes(page(*PLAIN))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", b" " * (65 * 2**20))
    assert file.stat().st_size < 2**20
    with pytest.raises(SpreadsheetError, match=r"bomb\.xlsx: larger than 64 MiB unpacked; keep only the sheet"):
        read_counts(file)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """A file of more bytes than ten thousand companies can have is refused without being read whole."""
    file = tmp_path / "counts.csv"
    with file.open("wb") as opened:
        opened.truncate(2**30)
    with pytest.raises(SpreadsheetError, match=r"counts\.csv: larger than 16 MiB; keep only"):
        read_counts(file)
