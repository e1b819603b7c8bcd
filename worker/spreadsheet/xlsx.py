"""XLSX workbooks: python-calamine reads the values; what it does not report is read from the XML of the sheet.

It takes the error of a formula, and a formula that was never calculated, for an empty cell, tells nothing of hidden
rows, and holds the whole rectangle between the first and the last cell in memory.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import Any
from xml.etree import ElementTree as ET

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from worker.spreadsheet.cells import escape
from worker.spreadsheet.sheets import Cell, Sheet, SheetRow, SpreadsheetError, Truth, Unreadable
from worker.spreadsheet.xlsx_doubts import TRUE, Doubts, parsed

MAX_UNPACKED = 64 * 2**20
"""The limit of unpacked bytes; 10,000 companies take about 3 MB."""
MAX_CELLS = 1_000_000
"""The limit of rows times columns of all sheets together, up to the last row and column with content of each."""

MAX_COLUMNS = 16_384
"""A sheet of Excel has no more."""

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_SAVE_AS = "open it in Excel or LibreOffice, and save it as .xlsx without a password, or as “CSV UTF-8”"
_DAMAGED = (
    CalamineError,
    zipfile.BadZipFile,
    zlib.error,
    ET.ParseError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)

Place = tuple[int, int]
"""(row, column), both from 1."""


@dataclass
class _Layout:
    """The layout of a sheet, which python-calamine does not report.

    `instead`: replacements for cells that it takes for empty ones.
    """

    last: Place = (0, 0)
    hidden: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    merged: list[tuple[str, Place, Place]] = field(default_factory=list)
    instead: dict[Place, Cell] = field(default_factory=dict)


def is_workbook(data: bytes) -> bool:
    """True if this is a workbook, readable or not, and not text."""
    return data.startswith((_ZIP, _OLE))


def sheets(name: str, data: bytes) -> list[Sheet]:
    """The visible worksheets. Raises SpreadsheetError if it is not XLSX, damaged, too large, or all is hidden."""
    try:
        parts = _unpacked(name, data)
        if "xl/workbook.xml" not in parts:
            raise SpreadsheetError([f"{name}: a workbook of another kind than .xlsx; {_SAVE_AS}"])
        workbook = CalamineWorkbook.from_filelike(_packed(parts))
        paths, doubts = _paths(parts), Doubts(parts)
        layouts = {
            one.name: _layout(parts[paths[one.name]], doubts)
            for one in workbook.sheets_metadata
            if one.typ == SheetTypeEnum.WorkSheet and one.visible == SheetVisibleEnum.Visible
        }
        _check_size(name, layouts)
        visible = [_sheet(f'{name} sheet "{sheet}"', workbook, sheet, layout) for sheet, layout in layouts.items()]
    except _DAMAGED as error:
        reason = "an older workbook, or one with a password" if data.startswith(_OLE) else f"damaged ({error})"
        raise SpreadsheetError([f"{name}: {reason}; {_SAVE_AS}"]) from None
    if not visible:
        raise SpreadsheetError([f"{name}: no sheet is visible; unhide the one with the companies"])
    return visible


def _check_size(name: str, layouts: Mapping[str, _Layout]) -> None:
    cells = {sheet: layout.last[0] * layout.last[1] for sheet, layout in layouts.items()}
    for sheet, count in cells.items():
        if count > MAX_CELLS:
            said = f"more than {MAX_CELLS:,} cells; delete the rows and columns beside and below the table"
            raise SpreadsheetError([f'{name} sheet "{sheet}": {said}'])
    if sum(cells.values()) > MAX_CELLS:
        said = f"more than {MAX_CELLS:,} cells on all sheets together; keep only the sheet that is needed"
        raise SpreadsheetError([f"{name}: {said}"])


def _unpacked(name: str, data: bytes) -> dict[str, bytes]:
    """The XML parts, limited by the bytes really unpacked, not by the sizes that the archive declares."""
    parts: dict[str, bytes] = {}
    left = MAX_UNPACKED
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if member.filename.endswith((".xml", ".rels")):
                with archive.open(member) as opened:
                    parts[member.filename] = opened.read(left + 1)
                left -= len(parts[member.filename])
                if left < 0:
                    said = f"larger than {MAX_UNPACKED // 2**20} MiB unpacked; keep only the sheet that is needed"
                    raise SpreadsheetError([f"{name}: {said}"])
    return parts


def _packed(parts: dict[str, bytes]) -> io.BytesIO:
    """Pack a workbook of only these parts, so that nothing else is unpacked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, part in parts.items():
            archive.writestr(path, part)
    packed.seek(0)
    return packed


def _paths(parts: dict[str, bytes]) -> dict[str, str]:
    """The path of each sheet by its name."""
    root = parsed(parts["xl/workbook.xml"])
    targets = {one.get("Id"): one.get("Target", "") for one in parsed(parts["xl/_rels/workbook.xml.rels"])}
    paths: dict[str, str] = {}
    for sheet in root.iterfind("{*}sheets/{*}sheet"):
        relation = next(value for key, value in sheet.items() if key.endswith("}id"))
        paths[sheet.get("name", "")] = normpath(join("/xl", targets[relation])).lstrip("/")
    return paths


def _layout(part: bytes, doubts: Doubts) -> _Layout:
    layout = _Layout()
    number = 0
    data = None
    for event, element in ET.iterparse(io.BytesIO(part), events=("start", "end")):  # noqa: S314 - see parsed
        tag = element.tag.rpartition("}")[2]
        if event == "start":
            data = element if tag == "sheetData" else data
        elif tag == "row":
            number = int(element.get("r") or number + 1)
            _add_row(layout, number, element, doubts)
            if data is not None:
                data.clear()
        elif tag == "col" and element.get("hidden") in TRUE:
            last = min(int(element.get("max", "0")), MAX_COLUMNS)
            layout.hidden_columns.update(range(int(element.get("min", "1")), last + 1))
        elif tag == "mergeCell":
            first, _, last = element.get("ref", "").partition(":")
            layout.merged.append((f"{first}:{last}", _place(first), _place(last or first)))
    return layout


def _add_row(layout: _Layout, number: int, row: "ET.Element[str]", doubts: Doubts) -> None:
    # Excel hides a row of no height, also if nothing says that it is hidden.
    if row.get("hidden") in TRUE or float(row.get("ht") or 1) == 0:
        layout.hidden.add(number)
    column = 0
    for cell in row.iterfind("{*}c"):
        column = _place(cell.get("r", ""))[1] if cell.get("r") else column + 1
        if not (cell.findtext("{*}v") or any(cell.find(f"{{*}}{part}") is not None for part in ("f", "is"))):
            continue
        layout.last = (max(layout.last[0], number), max(layout.last[1], column))
        if cell.get("t") == "e":
            layout.instead[number, column] = cell.findtext("{*}v") or "#N/A"
        elif doubt := doubts.of(cell):
            layout.instead[number, column] = doubt


def _sheet(where: str, workbook: CalamineWorkbook, name: str, layout: _Layout) -> Sheet:
    height, width = layout.last
    # Only this mode begins with the first row, even if that is blank.
    values = workbook.get_sheet_by_name(name).to_python(skip_empty_area=False)
    table: list[list[Cell]] = [[""] * width for _ in range(height)]
    for cells, row_values in zip(table, values, strict=False):
        for index, value in enumerate(row_values[:width]):
            cells[index] = _cell(value)
    for (row, column), cell in layout.instead.items():
        table[row - 1][column - 1] = cell
    for reference, (top, left), (bottom, right) in layout.merged:
        if top > height or left > width or not table[top - 1][left - 1]:
            continue
        for row in range(top, min(bottom, height) + 1):
            for column in range(left, min(right, width) + 1):
                if (row, column) != (top, left):
                    table[row - 1][column - 1] = Unreadable(f"belongs to the merged cells {reference}; unmerge them")
    rows = list(_rows(table, layout.hidden))
    return Sheet(where, "row", lambda: rows, frozenset(layout.hidden_columns))


def _rows(table: list[list[Cell]], hidden: set[int]) -> Iterator[SheetRow]:
    for number, cells in enumerate(table, 1):
        while cells and not cells[-1]:
            cells.pop()
        said = "the row is hidden, maybe by a filter; show it, or delete it"
        yield SheetRow(number, cells, Unreadable(said) if cells and number in hidden else None)


def _cell(value: Any) -> Cell:  # noqa: ANN401 - whatever a cell may hold
    """The text of a value. Text that looks like a number is escaped, so that it stays text."""
    match value:
        case str():
            return value if value.startswith("'") else escape(value)
        case bool():
            return Truth(f"{str(value).upper()} is neither a text nor a number; enter it again", is_true=value)
        case int() | float():
            # Spreadsheets keep only 15 digits of a number, so a longer one cannot be an id.
            return str(int(value)) if float(value).is_integer() and abs(value) < 10**15 else str(value)
    return Unreadable(f"{value} is a date or a time; format the column as number, or as text, and enter it again")


def _place(reference: str) -> Place:
    matched = _REFERENCE.fullmatch(reference)
    if matched is None:
        raise ValueError(f"no cell {reference}")
    column = 0
    for letter in matched[1]:
        column = column * 26 + ord(letter) - 64
    return int(matched[2]), column
