"""Finds the header of a file and makes an object of each row below it, or reports every mistake with its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, TypeVar
from unicodedata import category

from pydantic import BaseModel, ValidationError

from worker.spreadsheet.cells import Parse, yes
from worker.spreadsheet.sheets import Cell, Sheet, SheetRow, SpreadsheetError, Truth, Unreadable, is_filled, quoted
from worker.validation_words import in_words

HEADER_WITHIN = 20
"""The number of non-blank rows that are searched for the header."""

T = TypeVar("T", bound=BaseModel)
Columns = Mapping[str, Parse]
"""The columns of a table, each with the parser of its cells."""

WORDS = {
    "phin_company_id": "company_id",
    "company": "company_name",
    "customer": "company_name",
    "customer_name": "company_name",
    "client": "company_name",
    "client_name": "company_name",
    "billable_seats": "billable_users",
    "seats": "billable_users",
    "connectwise_company_id": "cw_company_id",
    "connectwise_agreement_id": "agreement_id",
    "cw_agreement_id": "agreement_id",
    "connectwise_addition_id": "addition_id",
    "cw_addition_id": "addition_id",
    "minimum_users": "minimum",
    "minimum_seats": "minimum",
}
"""Unambiguous other names of the columns.

"Users" may be all users, "Quantity" ConnectWise's, so these are left out.
"""

OPTIONAL = frozenset({"allow_not_billable"})
"""Columns that a file may omit."""

QUANTITIES = frozenset({"billable_users", "minimum"})
"""Columns that somebody must have seen; ids are often hidden on purpose."""

TOTALS = frozenset({"total", "totals", "grand total", "sum", "summe", "gesamt", "gesamtsumme", "gesamtergebnis"})
"""Words in place of a company that mark a row of totals."""


@dataclass(frozen=True)
class Header:
    """The header row; `columns` lists the columns by position: "" = empty, None = unknown."""

    sheet: Sheet
    row: SheetRow
    columns: Sequence[str | None]
    above: Sequence[SheetRow]

    @property
    def known(self) -> frozenset[str]:
        """The known columns that the header names."""
        return frozenset(column for column in self.columns if column)

    def is_complete(self, columns: Columns) -> bool:
        """True if the header names all required columns."""
        return columns.keys() - OPTIONAL <= self.known

    def words(self, column: str | None) -> list[str]:
        """The file's names for a column, one for each time that it is there."""
        return [_text(cell) for cell, known in zip(self.row.cells, self.columns, strict=True) if known == column]

    def where(self, row: SheetRow, column: str) -> str:
        """The place of a cell, to display."""
        return f"{self.sheet.where(row.number)}, column {next(iter(self.words(column)), column)}"


def find(file: str, sheets: Sequence[Sheet], columns: Columns) -> Header:
    """The header with these columns. Raises SpreadsheetError if it is missing, incomplete or there twice."""
    found = [header for sheet in sheets if (header := best(sheet, columns))]
    wanted = ",".join(column for column in columns if column not in OPTIONAL)
    if not found:
        raise SpreadsheetError([f"{file}: the file is empty; its first line must be {wanted}"])
    complete = [header for header in found if header.is_complete(columns)]
    if len(complete) > 1:
        names = ", ".join(header.sheet.name for header in complete)
        raise SpreadsheetError([f"{names}: each has the columns {wanted}; leave only one sheet that has them"])
    header = max(complete or found, key=lambda one: len(one.known))
    where = header.sheet.where(header.row.number)
    if mistakes := list(_mistakes(header, columns)):
        raise SpreadsheetError([*(f"{where}: {said}" for said in mistakes), f"{where}: the columns must be {wanted}"])
    above = [row for row in header.above if len(list(filter(None, map(_text, row.cells)))) > 1]
    if above:
        said = "has several cells, but stands above the header; remove it"
        raise SpreadsheetError([f"{header.sheet.where(row.number)}: {said}" for row in above])
    return header


def best(sheet: Sheet, columns: Columns) -> Header | None:
    """The first row that names all columns, else the one that names most; None if the sheet is blank."""
    words = {_key(column): column for column in columns}
    words |= {_key(word): column for word, column in WORDS.items() if column in columns}
    above: list[SheetRow] = []
    found: Header | None = None
    for row in islice((row for row in sheet.rows() if not row.is_blank), HEADER_WITHIN):
        named = tuple(words.get(_key(_text(cell))) if _text(cell) else "" for cell in row.cells)
        header = Header(sheet, row, named, tuple(above))
        if found is None or len(header.known) > len(found.known):
            found = header
        if header.is_complete(columns):
            break
        above.append(row)
    return found


def read(
    header: Header,
    columns: Columns,
    make: Callable[[dict[str, Any]], T],
    total_of: str | None = None,
    at_most: int | None = None,
) -> list[T]:
    """Make an object of each row. Raises SpreadsheetError with the mistakes of all rows, or for more than `at_most`.

    A last row with the total of the column `total_of` is verified and left out.
    """
    rows, mistakes = _split(header, None if at_most is None else at_most + 1)
    if total_of:
        mistakes += _take_total(header, rows, total_of, columns[total_of])
    if at_most is not None and len(rows) > at_most:
        raise SpreadsheetError(
            [f"{header.sheet.name}: more than {at_most:,} companies; a push takes at most {at_most:,}"]
        )
    made: list[T] = []
    first: dict[str, int] = {}
    capitals: dict[str, tuple[str, int]] = {}
    for row, cells in rows:
        values, wrong = _values(header, row, cells, columns)
        company_id = values.get("company_id")
        if company_id is not None and (at := first.setdefault(company_id, row.number)) != row.number:
            twice = f"{quoted(company_id)} is there twice, first on {header.sheet.unit} {at}"
            wrong.append(f"{header.where(row, 'company_id')}: {twice}")
        elif company_id is not None and values.get("cw_company_id", ...) is not None:
            # Rows that unmap are exempt: an export may have one beside the correct id.
            other, at = capitals.setdefault(company_id.casefold(), (company_id, row.number))
            if other != company_id:
                said = f"{quoted(company_id)} differs only in capitals from {quoted(other)} on {header.sheet.unit} {at}"
                wrong.append(f"{header.where(row, 'company_id')}: {said}; leave the row with the company's id in Phin")
        if not wrong:
            try:
                made.append(make(values))
            except ValidationError as error:
                wrong.extend(_said(error, header, row))
        mistakes += wrong
    if mistakes:
        raise SpreadsheetError(mistakes)
    if not made:
        raise SpreadsheetError([f"{header.sheet.name}: there is no row below the header"])
    return made


def _key(word: str) -> str:
    """Normalise a column name: `billableusers` for "Billable Users" and billable_users.

    Signs of an amount, a share or a difference stay, so "Seats ($)", "Seats %" and "Seats +/-" are not known.
    """
    return "".join(sign for sign in word.casefold() if sign.isalnum() or category(sign)[0] == "S" or sign in "%‰/")


def _text(cell: Cell) -> str:
    return "" if isinstance(cell, Unreadable) else cell.strip()


def _mistakes(header: Header, columns: Columns) -> Iterator[str]:
    if header.row.trouble and not header.known:
        yield header.row.trouble.said
    yield from (f"column {column} is missing" for column in columns if column not in {*header.known, *OPTIONAL})
    yield from (f"column {quoted(word)} is not known" for word in dict.fromkeys(header.words(None)))
    for number, (cell, column) in enumerate(zip(header.row.cells, header.columns, strict=True), 1):
        if column in QUANTITIES and number in header.sheet.hidden:
            yield f"column {quoted(_text(cell))} is hidden; show it, or delete it"
    for column in columns:
        if len(words := header.words(column)) > 1:
            yield f"column {column} is there twice: {', '.join(map(quoted, words))}"


def _split(header: Header, enough: int | None) -> tuple[list[tuple[SheetRow, dict[str, Cell]]], list[str]]:
    """The rows below the header, each with its cells by column, and the mistakes of whole rows.

    Once there are more than `enough`, the rest is not looked at.
    """
    rows: list[tuple[SheetRow, dict[str, Cell]]] = []
    mistakes: list[str] = []
    width = len(header.columns)
    for row in header.sheet.rows():
        if row.number <= header.row.number or row.is_blank:
            continue
        where = header.sheet.where(row.number)
        # Spreadsheets omit separators after the last filled cell of a block of rows, and add some in other blocks.
        cells = list(zip_longest(header.columns, row.cells[:width], fillvalue=""))
        if row.trouble:
            mistakes.append(f"{where}: {row.trouble.said}")
        elif any(map(is_filled, row.cells[width:])) or _may_be_shifted(row, width):
            said = "quote a cell that holds the separator, and clear what stands beside the table"
            mistakes.append(f"{where}: {len(row.cells)} columns, but the header has {width}; {said}")
        elif nameless := [n for n, (column, cell) in enumerate(cells, 1) if not column and is_filled(cell)]:
            mistakes.append(f"{where}, column {nameless[0]}: is not empty, but has no name in the header; clear it")
        else:
            rows.append((row, {column: cell for column, cell in cells if column}))
        if enough is not None and len(rows) + len(mistakes) > enough:
            break
    return rows, mistakes


def _may_be_shifted(row: SheetRow, width: int) -> bool:
    """True if empty cells beyond the header may come from an unquoted name like "Acme, Inc."."""
    return len(row.cells) > width and any(isinstance(cell, str) and cell.startswith(" ") for cell in row.cells)


def _take_total(header: Header, rows: list[tuple[SheetRow, dict[str, Cell]]], column: str, parse: Parse) -> list[str]:
    """Remove a last row with the total of a column. Returns the mistakes in it."""
    row, cells = rows[-1] if rows else (header.row, {})
    labels = {_text(cell).casefold().strip(" :") for name, cell in cells.items() if name != column}
    # Without a label, the second of two rows may be a company that lost its name.
    if len(rows) < (3 if labels == {""} else 2) or not labels <= {*TOTALS, ""} or not _text(cells[column]):
        return []
    try:
        total, parts = parse(_text(cells[column])), [parse(_text(part[column])) for _, part in rows[:-1]]
    except ValueError:
        # The mistake is reported when the rows are read.
        return []
    if total == sum(parts):
        rows.pop()
        return []
    if labels == {""}:
        return []
    rows.pop()
    said = f"the total is {total:,}, but the rows above add up to {sum(parts):,}; correct them, or remove the total"
    return [f"{header.where(row, column)}: {said}"]


def _values(
    header: Header, row: SheetRow, cells: Mapping[str, Cell], columns: Columns
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for column, parse in columns.items():
        if column not in header.known:
            continue
        cell = cells.get(column, "")
        where = header.where(row, column)
        if isinstance(cell, Truth) and parse is yes:
            values[column] = cell.is_true
            continue
        if isinstance(cell, Unreadable):
            wrong.append(f"{where}: {cell.said}")
            continue
        try:
            values[column] = parse(cell)
        except ValueError as error:
            wrong.append(f"{where}: {error}")
    return values, wrong


def _said(error: ValidationError, header: Header, row: SheetRow) -> Iterator[str]:
    for one in error.errors(include_url=False, include_input=False):
        words = in_words(one)
        # The text about a whole row begins with the column to correct.
        named = [name for name in (*one["loc"], *words.split()) if name in header.known]
        where = header.where(row, str(named[0])) if named else header.sheet.where(row.number)
        yield f"{where}: {words}"
