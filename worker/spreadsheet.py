"""CSV files as spreadsheet programs write them: read strictly, with every mistake named by line and column.

UTF-8 with or without byte order mark, comma or semicolon. A cell that a spreadsheet would run as a formula is written
with a leading ' and read without it.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from messages import MappingChanged, PhinCompany, PushLine
from messages.envelope import MAX_COUNT, MAX_LINES
from store.mappings import Mapping as StoredMapping

SHOWN_MISTAKES = 20
MAX_CW_ID = 2**31 - 1

T = TypeVar("T", bound=BaseModel)
Parse = Callable[[str], Any]

# Also with ' before it, so that what is written is read back exactly.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class SpreadsheetError(Exception):
    """A file that cannot be used: one line of text per mistake, at most SHOWN_MISTAKES and how many there are more."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        shown = list(mistakes[:SHOWN_MISTAKES])
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class _Row:
    """One row below the header; `line` is the physical line it starts on, counted from 1."""

    line: int
    cells: dict[str, str]


def read_counts(file: Path) -> list[PushLine]:
    """Read billable users: company_id, company_name, billable_users. Raises SpreadsheetError or OSError."""
    columns: dict[str, Parse] = {
        "company_id": _filled(str.strip),
        "company_name": _filled(str),
        "billable_users": _whole(0, MAX_COUNT),
    }
    lines = _read(file, columns, lambda cells: PushLine(**cells))
    if len(lines) > MAX_LINES:
        raise SpreadsheetError([f"{file.name}: {len(lines):,} companies; a push takes at most {MAX_LINES:,}"])
    return lines


def read_mappings(file: Path, partner_id: str, changed_at: datetime) -> list[MappingChanged]:
    """Read mappings as messages of this partner and version; blank ids = unmapped. Raises SpreadsheetError or OSError.

    Columns: company_id, company_name, cw_company_id, agreement_id, addition_id, rule, minimum.
    """
    columns: dict[str, Parse] = {
        "company_id": _filled(str.strip),
        "company_name": _filled(str),
        "cw_company_id": _optional(_whole(1, MAX_CW_ID)),
        "agreement_id": _optional(_whole(1, MAX_CW_ID)),
        "addition_id": _optional(_whole(1, MAX_CW_ID)),
        "rule": _rule,
        "minimum": _optional(_whole(0, MAX_COUNT)),
    }
    envelope: dict[str, Any] = {"partner_id": partner_id, "correlation_id": f"mapping import {changed_at.isoformat()}"}
    return _read(file, columns, lambda cells: MappingChanged(**envelope, changed_at=changed_at, **cells))


def read_companies(file: Path) -> list[PhinCompany]:
    """Read the companies of a file of counts, or else of mappings. Raises SpreadsheetError or OSError."""
    header = next((line for line in _text(file).splitlines() if line.strip(" \t,;")), "")
    found: Iterable[PushLine | MappingChanged] = (
        read_counts(file) if "billable_users" in header.lower() else read_mappings(file, "-", datetime.now(UTC))
    )
    return [PhinCompany(company_id=one.company_id, company_name=one.company_name) for one in found]


def write_mappings(mappings: Iterable[StoredMapping]) -> str:
    """Write mappings as `read_mappings` reads them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("company_id", "company_name", "cw_company_id", "agreement_id", "addition_id", "rule", "minimum"))
    for m in mappings:
        row = (m.company_id, m.company_name, m.cw_company_id, m.agreement_id, m.addition_id, m.rule, m.minimum)
        writer.writerow(["" if cell is None else escape(str(cell)) for cell in row])
    return text.getvalue()


def escape(cell: str) -> str:
    """Make a cell harmless that a spreadsheet program would take for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape(cell: str) -> str:
    """Undo `escape`, exactly."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _read(file: Path, columns: Mapping[str, Parse], make: Callable[[dict[str, Any]], T]) -> list[T]:
    """Make an object of each row, or raise SpreadsheetError with the mistakes of all rows."""
    rows, mistakes = _rows(file, columns)
    made: list[T] = []
    first_line: dict[str, int] = {}
    for row in rows:
        where = f"{file.name} line {row.line}"
        values: dict[str, Any] = {}
        wrong = []
        for name, parse in columns.items():
            try:
                values[name] = parse(row.cells[name])
            except ValueError as error:
                wrong.append(f"{where}, column {name}: {error}")
        company_id = row.cells["company_id"].strip()
        first = first_line.setdefault(company_id, row.line)
        if first != row.line and company_id:
            wrong.append(f"{where}, column company_id: {_shown(company_id)} is there twice, first on line {first}")
        if not wrong:
            try:
                made.append(make(values))
            except ValidationError as error:
                wrong.extend(f"{where}{said}" for said in _said(error, columns))
        mistakes.extend(wrong)
    if mistakes:
        raise SpreadsheetError(mistakes)
    if not made:
        raise SpreadsheetError([f"{file.name}: there is no row below the header"])
    return made


def _rows(file: Path, columns: Mapping[str, Parse]) -> tuple[list[_Row], list[str]]:
    """Split the file into rows, and name those that cannot be split. Raises SpreadsheetError for a useless header."""
    lines = io.StringIO(_text(file), newline="")
    above, header, delimiter = _header(file.name, lines, columns)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[_Row] = []
    mistakes: list[str] = []
    while True:
        line = above + reader.line_num + 1
        try:
            cells = [unescape(cell) for cell in next(reader)]
        except StopIteration:
            return rows, mistakes
        except csv.Error as error:
            mistakes.append(f"{file.name} line {line}: the quotes do not fit ({error})")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            mistakes.append(f"{file.name} line {line}: {len(cells)} columns, but the header has {len(header)}")
            continue
        rows.append(_Row(line, dict(zip(header, cells, strict=True))))


def _text(file: Path) -> str:
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpreadsheetError([f"{file.name} line {line}: not UTF-8; save the file as “CSV UTF-8”"]) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SpreadsheetError([f"{file.name} line {line}: holds a NUL character, so it is no CSV file"])
    return text


def _header(name: str, lines: io.StringIO, columns: Mapping[str, Parse]) -> tuple[int, list[str], str]:
    """Read past the header: its line, its columns, and the delimiter, which is the one that makes them known."""
    wanted = ",".join(columns)
    number, first = next(((n, line) for n, line in enumerate(lines, 1) if line.strip(" \t\r\n,;")), (0, ""))
    if not number:
        raise SpreadsheetError([f"{name}: the file is empty; its first line must be {wanted}"])
    split = {
        delimiter: [_column(cell.strip().strip('"'), columns) for cell in first.split(delimiter)] for delimiter in ",;"
    }
    delimiter = max(split, key=lambda one: len(columns.keys() & set(split[one])))
    header = split[delimiter]
    mistakes = [f"column {column} is missing" for column in columns if column not in header]
    mistakes += [f"column {_shown(column)} is not known" for column in dict.fromkeys(header) if column not in columns]
    mistakes += [f"column {column} is there twice" for column in columns if header.count(column) > 1]
    if mistakes:
        where = f"{name} line {number}: "
        raise SpreadsheetError([*(where + mistake for mistake in mistakes), f"{where}the columns must be {wanted}"])
    return number, header, delimiter


def _filled(parse: Parse) -> Parse:
    def parse_filled(cell: str) -> Any:  # noqa: ANN401 - whatever the column holds
        if not cell.strip():
            raise ValueError("is empty")
        return parse(cell)

    return parse_filled


def _whole(low: int, high: int) -> Parse:
    def parse(cell: str) -> int:
        text = cell.strip()
        # More digits than the bound has are too many anyway, and `int` takes long over a million of them.
        if re.fullmatch(r"[0-9]{1,12}", text) and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"{_shown(cell)} is not a whole number from {low} to {high:,}")

    return parse


def _optional(parse: Parse) -> Parse:
    return lambda cell: parse(cell) if cell.strip() else None


def _rule(cell: str) -> str:
    rule = cell.strip() or "refuse"
    if rule not in {"refuse", "sum"}:
        raise ValueError(f"{_shown(cell)} is neither refuse nor sum")
    return rule


def in_words(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """What is wrong with a value, in our words where pydantic's are for programmers."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "string_too_short":
            return "is empty"
        case "string_too_long":
            return f"is longer than {limits['max_length']} characters"
        case "greater_than_equal":
            return f"is less than {limits['ge']:,}"
        case "less_than_equal":
            return f"is more than {limits['le']:,}"
    return str(error["msg"]).removeprefix("Value error, ")


def _said(error: ValidationError, columns: Mapping[str, Parse]) -> list[str]:
    said = []
    for one in error.errors(include_url=False, include_input=False):
        words = in_words(one)
        # What is wrong with a row as a whole begins with the column that has to be corrected.
        named = [*one["loc"], *(word for word in words.split() if word in columns)]
        said.append(f"{f', column {named[0]}' if named else ''}: {words}")
    return said


def _column(cell: str, columns: Mapping[str, Parse]) -> str:
    """The name of a column, which may be written in any capitals."""
    return cell.lower() if cell.lower() in columns else cell


def _shown(cell: str) -> str:
    """A cell within an error text: short, quoted, nothing that cannot be seen."""
    text = "".join(character if character.isprintable() else "�" for character in cell)
    return f'"{text[:40]}{"…" if len(text) > 40 else ""}"'
