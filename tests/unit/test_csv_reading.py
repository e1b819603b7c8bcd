"""Reading CSV files: every mistake is named by line and column, and nothing is guessed."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from messages.values import MAX_LINES
from worker.spreadsheet import SpreadsheetError, read_counts, read_mappings

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
COUNTS = "company_id,company_name,billable_users"
MAPPINGS = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"


def counts_file(folder: Path, content: str | bytes) -> Path:
    """Write counts.csv."""
    file = folder / "counts.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def mistakes(folder: Path, content: str | bytes) -> list[str]:
    """The mistakes that reading these counts names, one a line."""
    with pytest.raises(SpreadsheetError) as caught:
        read_counts(counts_file(folder, content))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "content",
    [
        f"{COUNTS}\nc-1,Müller & Co,42\n",
        f"\ufeff{COUNTS}\r\nc-1,Müller & Co,42\r\n",
        "company_id;company_name;billable_users\nc-1;Müller & Co;42",
        'billable_users,"company_name",company_id\n 42 ,Müller & Co, c-1 \n',
        "Company_ID,COMPANY_NAME,Billable_Users\nc-1,Müller & Co,42\n",
        f"\n,,\n{COUNTS}\n\n,,\nc-1,Müller & Co,42\n\n",
    ],
    ids=["plain", "byte order mark and CRLF", "semicolons", "other order, quotes, blanks", "capitals", "blank lines"],
)
def test_what_spreadsheet_programs_write_is_read_alike(tmp_path: Path, content: str) -> None:
    """A file is read the same with or without a byte order mark, with commas or semicolons, in any column order."""
    (line,) = read_counts(counts_file(tmp_path, content))
    assert (line.company_id, line.company_name, line.billable_users) == ("c-1", "Müller & Co", 42)


@pytest.mark.parametrize("cell", ["12.5", "-1", "1000001", "1e3", "1,000,0", "0,123", "٤٢", "9" * 5000, "true"])
def test_a_count_is_a_whole_number(tmp_path: Path, cell: str) -> None:
    """A count that is no whole number from 0 to 1,000,000 is named with its line and column, and cut short."""
    (said,) = mistakes(tmp_path, f'{COUNTS}\nc-1,Acme,7\nc-2,"Ini\ntech",8\nc-3,Hooli,"{cell}"\n')[-1:]
    shown = f"{cell[:40]}…" if len(cell) > 40 else cell
    expected = f'counts.csv line 5, column billable_users: "{shown}" is not a whole number from 0 to 1,000,000'
    assert said == f"{expected}; write digits only"


@pytest.mark.parametrize("cell", ["1,000", "1.000", "12.345", "999,999", "'1,234"])
def test_a_count_that_may_be_a_fraction_is_refused(tmp_path: Path, cell: str) -> None:
    """Three digits after a sign are thousands in one country and a fraction in another, so nobody guesses."""
    (said,) = mistakes(tmp_path, f'{COUNTS}\nc-1,Acme,"{cell}"\n')
    assert said.startswith(f'counts.csv line 2, column billable_users: "{cell.strip(chr(39))}" may be ')
    assert said.endswith("or a fraction; write digits only")


@pytest.mark.parametrize(
    ("cell", "users"),
    [
        ("42.0", 42),
        ("42,00", 42),
        ("042", 42),
        ("\u00a042 ", 42),
        ("'42", 42),
        ("1 234", 1234),
        ("1\u202f234", 1234),
        ("1'234", 1234),
        ("1,234.0", 1234),
        ("1.234,00", 1234),
        ("1,000,000", 1_000_000),
    ],
)
def test_a_count_is_read_however_it_is_formatted(tmp_path: Path, cell: str, users: int) -> None:
    """A whole number that is written so that it can mean no other is read, with its thousands and its zeros."""
    (line,) = read_counts(counts_file(tmp_path, f'{COUNTS}\nc-1,Acme,"{cell}"\n'))
    assert line.billable_users == users


def test_all_mistakes_are_shown(tmp_path: Path) -> None:
    """All mistakes of a file are shown at once, the first twenty of them, and how many there are more."""
    said = mistakes(tmp_path, COUNTS + "".join(f"\nc-{n},Acme,x" for n in range(25)))
    assert len(said) == 21
    assert said[0].startswith("counts.csv line 2, column billable_users")
    assert said[-1] == "and 5 more"


def test_a_company_twice_names_both_lines(tmp_path: Path) -> None:
    """A company that is there twice is named with both lines, so that the coordinator can choose."""
    said = mistakes(tmp_path, f"{COUNTS}\nc-1,Acme,1\nc-2,Initech,2\nc-1,Acme,3\n")
    assert said == ['counts.csv line 4, column company_id: "c-1" is there twice, first on line 2']


def test_two_ids_that_differ_only_in_capitals_are_refused(tmp_path: Path) -> None:
    """A company under two spellings of its id would be billed by one of them: both lines are named."""
    said = mistakes(tmp_path, f"{COUNTS}\nc-101,Acme,21\nc-2,Initech,2\nC-101,Acme,22\n")
    wanted = 'counts.csv line 4, column company_id: "C-101" differs only in capitals from "c-101" on line 2; leave the'
    assert [one[: len(wanted)] for one in said] == [wanted]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"counts.csv: the file is empty; .*company_id,company_name,billable_users"),
        (COUNTS, r"counts.csv: there is no row below the header"),
        ("c-1,Acme,42\n", r"counts.csv line 1: column company_id is missing"),
        ("company_id,company_name\nc-1,Acme\n", r"counts.csv line 1: column billable_users is missing"),
        (f"{COUNTS},note\nc-1,Acme,1,x\n", r'counts.csv line 1: column "note" is not known'),
        (f"{COUNTS},company_id\nc-1,Acme,1,c-1\n", r"counts.csv line 1: column company_id is there twice"),
        (f"{COUNTS}\nc-1,Acme,1,2\n", r"counts.csv line 2: 4 columns, but the header has 3"),
        (f"{COUNTS}\nc-1,Acme\n", r"counts.csv line 2, column billable_users: is empty"),
        (f"{COUNTS}\nc-1,Ac\0me,1\n", r"counts.csv line 2: holds a NUL character"),
        (f'{COUNTS}\nc-1,"Acme"x,1\nc-2,Initech,2\n', r"counts.csv line 2: the quotes do not fit"),
        (f'{COUNTS}\nc-1,Acme,1\nc-2,"Initech,2\n', r"counts.csv line 3: the quotes do not fit"),
        (f"{COUNTS}\nc-1,M\x81ller,1\n".encode("latin-1"), r"counts.csv line 2: neither UTF-8 nor Windows-1252"),
        (f"\ufeff{COUNTS}\n".encode() + "c-1,Müller,1\n".encode("cp1252"), r"counts.csv line 2: not UTF-8; save the"),
        (f"{COUNTS}\n".encode("utf-16") + b"x", r"counts.csv line 2: not UTF-16"),
        (f"{COUNTS}\nc-1,Acme,1\n".encode("utf-16-le"), r"counts.csv line 1: holds a NUL character"),
        (f"{COUNTS}\n,Acme,1\n", r"counts.csv line 2, column company_id: is empty"),
        (f"{COUNTS}\n{'c' * 129},Acme,1\n", r"counts.csv line 2, column company_id: is longer than 128 characters"),
        (f"{COUNTS}\nc-1, ,1\n", r"counts.csv line 2, column company_name: is empty"),
        (f'{COUNTS}\nc-1,"Ac\x1b[31mme",1\n', r"counts.csv line 2, column company_name: has a control character"),
    ],
)
def test_a_useless_file_is_explained(tmp_path: Path, content: str | bytes, said: str) -> None:
    """A mistake in a file is told with its line, and the column if it is one cell."""
    assert re.match(said, mistakes(tmp_path, content)[0])


def test_no_error_moves_the_cursor(tmp_path: Path) -> None:
    """A cell with a terminal's control sequence is shown without it."""
    (said,) = mistakes(tmp_path, f"{COUNTS}\nc-1,Acme,\x1b[2J\u202e7\n")
    assert said.isprintable()


def test_a_push_takes_ten_thousand_lines(tmp_path: Path) -> None:
    """More companies than a push can carry are refused before anything is sent; a total is none of them."""
    rows = [f"c-{n},Acme {n},1" for n in range(MAX_LINES + 1)]
    for more in ([], ["c-x,Acme,1"] * 5):
        text = "\n".join([COUNTS, *rows, *more])
        assert mistakes(tmp_path, text) == ["counts.csv: more than 10,000 companies; a push takes at most 10,000"]
    file = tmp_path / "total.csv"
    file.write_text("\n".join([COUNTS, *rows[:-1], f"Total,,{MAX_LINES}"]), encoding="utf-8")
    assert len(read_counts(file)) == MAX_LINES


def test_a_million_empty_lines_cost_little(tmp_path: Path) -> None:
    """A sheet that Excel has saved to its last row is read; a longer file, of empty lines, is refused at once."""
    assert read_counts(counts_file(tmp_path, f"{COUNTS}\nc-1,Acme,7\n" + ",,\n" * 1_048_570))[0].billable_users == 7
    said = "counts.csv: more than 1,048,576 lines; remove those that are empty, and leave only the table in it"
    assert mistakes(tmp_path, f"{COUNTS}\nc-1,Acme,7\n" + "\n" * 1_048_576) == [said]


def test_excel_leaves_out_the_last_separators(tmp_path: Path) -> None:
    """An exported file that Excel has saved, whose rows end with their last filled cell in some blocks, is the same."""
    full = [f"c-{n},Acme {n},250,7,{n},refuse," for n in range(1, 41)] + ["c-41,Hooli,,,,,", "c-42,Initech,250,,,,"]
    cut = [row.rstrip(",") if n // 16 % 2 == 0 else row for n, row in enumerate([MAPPINGS, *full])]
    read = []
    for rows in ([MAPPINGS, *full], cut):
        file = tmp_path / "mappings.csv"
        file.write_text("\r\n".join([*rows, ""]), "utf-8-sig")
        read.append([one.model_dump(exclude={"id", "time"}) for one in read_mappings(file, "msp-1", NOW)])
    assert read[0] == read[1]
    assert {len(row.split(",")) for row in cut} == {2, 3, 6, 7}


def test_a_name_is_one_line(tmp_path: Path) -> None:
    """A line break that somebody typed within the cell of a name becomes a blank."""
    (line,) = read_counts(counts_file(tmp_path, f'{COUNTS}\nc-1,"Acme\r\nWest\u2028Coast",1\n'))
    assert line.company_name == "Acme West Coast"


def test_mappings_are_read_as_messages(tmp_path: Path) -> None:
    """Each row of a mapping file becomes one mapping.changed of the same version; blank ids unmap the company."""
    file = tmp_path / "mappings.csv"
    file.write_text(f"{MAPPINGS}\nc-1,Acme,250,7,11,sum,5\nc-2,Initech,250,,,,\nc-3,Hooli,,,,,\n", "utf-8")
    full, unfinished, unmapped = read_mappings(file, "msp-1", NOW)
    assert (full.cw_company_id, full.agreement_id, full.addition_id, full.rule, full.minimum) == (250, 7, 11, "sum", 5)
    assert (unfinished.cw_company_id, unfinished.agreement_id, unfinished.rule) == (250, None, "refuse")
    assert (unmapped.cw_company_id, unmapped.addition_id, unmapped.minimum) == (None, None, None)
    assert {event.changed_at for event in (full, unfinished, unmapped)} == {NOW}
    assert {event.partner_id for event in (full, unfinished, unmapped)} == {"msp-1"}


def test_a_mapping_is_filled_in_from_left_to_right(tmp_path: Path) -> None:
    """A row with an addition but no agreement, or with an unknown rule or id, is named and nothing is read."""
    file = tmp_path / "mappings.csv"
    file.write_text(f"{MAPPINGS}\nc-1,Acme,250,,11,,\nc-2,Initech,250,7,11,max,\nc-3,Hooli,0,,,,\n", "utf-8")
    with pytest.raises(SpreadsheetError) as caught:
        read_mappings(file, "msp-1", NOW)
    assert str(caught.value).splitlines() == [
        "mappings.csv line 2, column addition_id: an addition_id needs its agreement_id",
        'mappings.csv line 3, column rule: "max" is neither refuse nor sum',
        (
            'mappings.csv line 4, column cw_company_id: "0" is not a whole number from 1 to 2,147,483,647; '
            "write digits only"
        ),
    ]
