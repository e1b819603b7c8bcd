"""CSV as Excel and LibreOffice save it: several encodings, and one separator of four."""

import csv
import io
import re
from collections.abc import Callable, Iterator

from worker.spreadsheet.cells import escape
from worker.spreadsheet.sheets import Sheet, SheetRow, SpreadsheetError, Unreadable

SEPARATORS = ",;\t|"
MAX_TEXT_LINES = 2**20
"""As many as a sheet of Excel has rows, which it may write though all below the table are empty."""

_SAVE_AS = "save the file as “CSV UTF-8”, or as .xlsx"
# An accented letter in UTF-8; the same bytes in Windows-1252 are a pair of signs that no word contains.
_UTF8_LETTER = re.compile(rb"[\xc3-\xde][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")
# Programs write ="007" for a text that Excel is to leave as it is.
_KEPT_TEXT = re.compile(r'="([^"]*)"')


def sheets(name: str, data: bytes) -> list[Sheet]:
    """One sheet for each separator; the header tells which is right. Raises SpreadsheetError for undecodable bytes."""
    text = _decoded(name, data)
    return [Sheet(name, "line", _splitting(text, separator)) for separator in SEPARATORS]


def _splitting(text: str, separator: str) -> Callable[[], Iterator[SheetRow]]:
    def rows() -> Iterator[SheetRow]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                if cells := next(reader):
                    yield SheetRow(line, [_plain(cell) if cell.startswith("=") else cell for cell in cells])
            except StopIteration:
                return
            except csv.Error as error:
                yield SheetRow(line, (), Unreadable(f"the quotes do not fit ({error}); double those within a cell"))

    return rows


def _plain(cell: str) -> str:
    """The text that ="…" keeps, escaped so that it stays text; any other cell as it is."""
    kept = _KEPT_TEXT.fullmatch(cell)
    return escape(kept[1]) if kept else cell


def _decoded(name: str, data: bytes) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or else Windows-1252, which Excel calls “CSV” in many countries."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if utf16 or data.startswith(b"\xef\xbb\xbf") or _UTF8_LETTER.search(data):
            raise _undecodable(name, data, error, "not UTF-16" if utf16 else "not UTF-8") from None
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as neither:
            raise _undecodable(name, data, neither, "neither UTF-8 nor Windows-1252") from None
    if max(text.count("\n"), text.count("\r")) > MAX_TEXT_LINES:
        said = f"more than {MAX_TEXT_LINES:,} lines; remove those that are empty, and leave only the table in it"
        raise SpreadsheetError([f"{name}: {said}"])
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SpreadsheetError([f"{name} line {line}: holds a NUL character, so it is no CSV file; {_SAVE_AS}"])
    return text


def _undecodable(name: str, data: bytes, error: UnicodeDecodeError, said: str) -> SpreadsheetError:
    line = data.count(b"\n", 0, error.start) + 1
    return SpreadsheetError([f"{name} line {line}: {said}; {_SAVE_AS}"])
