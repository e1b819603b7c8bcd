"""Cells of a workbook that may hold another value than they show, told by its XML."""

import io
import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from worker.spreadsheet.sheets import Unreadable

TRUE = {"1", "true"}

_NUMBER = re.compile(r"[\s\d.,'\u2019]+")
# Of a number format: a text, the sign behind a backslash, an underscore or an asterisk, and a colour or a condition.
_NO_DIGITS = re.compile(r'"[^"]*"|[\\_*].|\[[^\]]*\]')
# Thousands (a comma behind the last digit), or zeros before the number.
_SHOWS_ANOTHER = re.compile(r"[0#?],+(?![0#?,])|(?<![0#?.,+\-])0{2,}(?![0#?]*[.,/:])")
# With a condition each part of a format may be for positive numbers, otherwise the first is.
_CONDITION = re.compile(r"\[[<>=]")

_IsMissing = Callable[[str | None, str | None], bool]
"""True if a formula was never calculated, by the type of its cell and its stored result."""


class Doubts:
    """Made of the XML parts of a workbook, by their paths."""

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        self._is_missing = _is_missing(parts["xl/workbook.xml"])
        self._marked = _marked(parts.get("xl/sharedStrings.xml", b""))
        styles = parsed(parts.get("xl/styles.xml", b"<none/>"))
        self._formats, self._struck = _formats_that_show_another(styles), _struck_out(styles)

    def of(self, cell: "ET.Element[str]") -> Unreadable | None:
        """Return why a cell with content is not to be read, None = it is."""
        kind, value, inline = cell.get("t"), cell.findtext("{*}v"), cell.find("{*}is")
        said = None
        if cell.find("{*}f") is not None and self._is_missing(kind, value):
            said = "the formula was not calculated; open the file in Excel or LibreOffice, and save it"
        elif cell.get("s") in self._struck:
            said = "is struck out; delete the row if it is no longer meant, or remove the line through it"
        elif (kind == "s" and value in self._marked) or (inline is not None and _is_marked(inline)):
            said = "some of its digits are struck out, raised or lowered; enter the number again"
        elif kind in {None, "n"} and value not in {None, "", "0"} and cell.get("s") in self._formats:
            said = "the format of the cell shows another number than it holds, or none; enter as text what is meant"
        return Unreadable(said) if said else None


def parsed(part: bytes) -> "ET.Element[str]":
    """The root of a part. Raises ParseError."""
    # The size is bounded, expat bounds the expansion of entities, and it loads nothing external.
    return ET.fromstring(part)  # noqa: S314


def _is_missing(workbook: bytes) -> _IsMissing:
    """Make the judgement of results of formulas: programs that calculate none store 0 or nothing."""
    properties = parsed(workbook).find("{*}calcPr")
    if properties is None:
        # Spreadsheet programs write these properties, Apache POI does not.
        return lambda kind, result: kind != "str" and result in {None, "", "0", "0.0"}
    # Other programs that write formulas without calculating them ask for it this way.
    asks = properties.get("fullCalcOnLoad") in TRUE
    return lambda kind, result: asks or not (result or kind == "str")


def _marked(part: bytes) -> set[str]:
    """The shared texts that are numbers with marked digits, by their index."""
    if b"strike" not in part and b"vertAlign" not in part:
        return set()
    texts = (one for _, one in ET.iterparse(io.BytesIO(part)) if one.tag.endswith("}si"))  # noqa: S314 - see parsed
    return {str(index) for index, one in enumerate(texts) if _is_marked(one)}


def _is_marked(text: "ET.Element[str]") -> bool:
    """True for a number of which digits are struck out, or are raised like the mark of a footnote."""
    marks = [mark for path in ("strike", "vertAlign") for mark in text.iterfind(f"{{*}}r/{{*}}rPr/{{*}}{path}")]
    return bool(marks and _NUMBER.fullmatch("".join(one.text or "" for one in text.iterfind("{*}r/{*}t"))))


def _struck_out(styles: "ET.Element[str]") -> set[str]:
    """The formats of cells with a line through all of their content, by their index."""
    lines = [one.find("{*}strike") for one in styles.iterfind("{*}fonts/{*}font")]
    fonts = {str(index) for index, line in enumerate(lines) if line is not None and line.get("val", "1") in TRUE}
    return {str(index) for index, one in enumerate(styles.iterfind("{*}cellXfs/{*}xf")) if one.get("fontId") in fonts}


def _formats_that_show_another(styles: "ET.Element[str]") -> set[str]:
    """The formats of cells that show 21,000 as 21, 101 as 00101, or no number at all, by their index."""
    codes = {one.get("numFmtId"): one.get("formatCode", "") for one in styles.iterfind("{*}numFmts/{*}numFmt")}
    formats = enumerate(styles.iterfind("{*}cellXfs/{*}xf"))
    return {str(index) for index, one in formats if _shows_another(codes.get(one.get("numFmtId"), ""))}


def _shows_another(code: str) -> bool:
    parts = _NO_DIGITS.sub("", code).split(";")
    if _CONDITION.search(code):
        return any(map(_SHOWS_ANOTHER.search, parts))
    is_unseen = len(parts) > 1 and not parts[0].strip()
    return is_unseen or bool(_SHOWS_ANOTHER.search(parts[0]))
