"""Parses and escapes cells. Spreadsheets write numbers and ids in many ways; only unambiguous ones are read.

Text that a spreadsheet would run as a formula, or turn into a number or a date, is written with a leading ', which is
removed when it is read.
"""

import re
from collections.abc import Callable
from typing import Any

from worker.spreadsheet.sheets import quoted

Parse = Callable[[str], Any]
"""Parses a cell. Raises ValueError, whose text names the mistake and its fix."""

# Also with ' before it, so that what is written is read back exactly.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
# A spreadsheet of a country that separates by ; takes what follows one for a cell, and what follows a line break.
_INNER_FORMULA = re.compile(r"([;\r\n] *'*)(?=[=+\-@\t\r])")
_INNER_ESCAPED = re.compile(r"([;\r\n] *'*)'(?=[=+\-@\t\r])")
# Numbers, dates, times and fractions, also with the months of English, German and Romance languages.
_RETYPED = re.compile(
    r"""'*+(?:
        [\s.,:/%()$€£+\-]*+ [0-9] [\s0-9.,:/%()$€£'+\-]*+ (?:e[+\-]?[0-9]++|[ap]\.?m\.?)?
        | (?=[^0-9]*+[0-9]) [\s0-9.,/\-]*+
          (?:jan|ene|gen|fe[bv]|fév|m[aä]r|mrt|maa|mei|ma[giy]|a[bpv]r|apr|giu|ju[giln]|aug|ago|aoû|se[pt]|o[ckt]t|out|nov
          |d[eéi][cz])
          \w{0,9} [\s0-9.,/\-]*+
        | true | false | wahr | falsch
    )\s*+\Z""",
    re.VERBOSE | re.IGNORECASE,
)

# More digits than any bound has are too many anyway, and `int` is slow for a million of them.
_GROUPED = r"[1-9][0-9]{0,2}(?P<by>[ .,'\u2019\u00a0\u2009\u202f])[0-9]{3}(?:(?P=by)[0-9]{3}){0,3}"
_WHOLE = re.compile(rf"(?P<whole>[0-9]{{1,12}}|{_GROUPED})(?:(?!(?P=by))[.,]0{{1,2}})?")
_ZEROS_FIRST = re.compile(r"0[0-9]")
_AMBIGUOUS = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
# Forms of an id that a spreadsheet took for a number: 1E+05, 1.0, 1,234, and zeros after the first 15 digits.
_NUMBER_FOR_ID = re.compile(
    r"[0-9.,]+e[+\-][0-9]+|[0-9]+[.,][0-9]+|[0-9]{1,3}(?:[.,][0-9]{3})+|[0-9]{15}0+", re.IGNORECASE
)
# A number that every spreadsheet keeps unchanged.
_PLAIN = re.compile(r"0|[1-9][0-9]{0,14}")
_LINE_BREAK = re.compile(r"[\r\n\v\f\u2028\u2029]+")
_SEPARATOR = re.compile(r"[,;\t|]")
_ERROR = re.compile(r"#N/A|#NV|#[A-ZÀ-Ý0/¡¿_]+[!?]|##+|Err:[0-9]{3}")


def escape_formula(cell: str) -> str:
    """Escape a cell that a spreadsheet would run as a formula."""
    cell = _INNER_FORMULA.sub(r"\1'", cell)
    return f"'{cell}" if _FORMULA.match(cell) else cell


def escape(cell: str) -> str:
    """Escape text that a spreadsheet would run as a formula, or turn into a number or a date."""
    cell = _INNER_FORMULA.sub(r"\1'", cell)
    return f"'{cell}" if _is_retyped(cell) and not _PLAIN.fullmatch(cell) else cell


def unescape(cell: str) -> str:
    """Undo `escape`, exactly."""
    cell = cell[1:] if cell.startswith("'") and _is_retyped(cell) else cell
    return _INNER_ESCAPED.sub(r"\1", cell)


def _is_retyped(cell: str) -> bool:
    return bool(_FORMULA.match(cell) or _RETYPED.match(cell))


def filled(parse: Parse) -> Parse:
    """A parser like `parse` that refuses an empty cell."""

    def parse_filled(cell: str) -> Any:  # noqa: ANN401 - whatever the column holds
        if not cell.strip():
            raise ValueError("is empty")
        return parse(cell)

    return parse_filled


def optional(parse: Parse) -> Parse:
    """A parser like `parse` that returns None for an empty cell."""
    return lambda cell: parse(cell) if cell.strip() else None


def text(cell: str) -> str:
    """Text in one line. Raises ValueError for the error of a formula, and for what may be several rows."""
    if _ERROR.fullmatch(cell.strip()):
        raise ValueError(f"{quoted(cell)} is the error of a formula; correct it in the spreadsheet")
    if _LINE_BREAK.search(cell.strip()) and _SEPARATOR.search(cell):
        # A missing quotation mark may have joined several rows.
        raise ValueError(f"{quoted(cell)} has several lines, and a separator; write it in one line")
    return _LINE_BREAK.sub(" ", unescape(cell))


def _line(cell: str) -> str:
    """One line, stripped. Raises ValueError for several, each of which may be a value of its own."""
    found = text(cell.strip())
    if _LINE_BREAK.search(cell.strip()):
        raise ValueError(f"{quoted(unescape(cell.strip()))} has several lines; leave one value in the cell")
    return found


def identifier(cell: str) -> str:
    """An id, stripped. Raises ValueError for one that a spreadsheet took for a number."""
    found = _line(cell)
    if found == cell.strip() and _NUMBER_FOR_ID.fullmatch(found):
        said = "format the column as text, enter the id again, and save the file as .xlsx"
        raise ValueError(f"{quoted(cell)} is an id that a spreadsheet took for a number; {said}")
    return found.strip()


def whole(low: int, high: int) -> Parse:
    """A parser of whole numbers: 42, 42.0, 42,00, 1 234, 1'234, 1,234,567 or 1,234.0; 1,234 may be a fraction."""

    def parse(cell: str) -> int:
        number = _line(cell).strip()
        if _AMBIGUOUS.fullmatch(number):
            raise ValueError(f"{quoted(number)} may be {re.sub('[.,]', '', number)} or a fraction; write digits only")
        matched = _WHOLE.fullmatch(number)
        if matched and low <= (found := int(re.sub(r"[^0-9]", "", matched["whole"]))) <= high:
            return found
        raise ValueError(f"{quoted(number)} is not a whole number from {low} to {high:,}; write digits only")

    return parse


def record_id(highest: int) -> Parse:
    """A parser of the ids of records in ConnectWise. Raises ValueError for one that begins with 0, which none does."""
    parse = whole(1, highest)

    def parse_id(cell: str) -> Any:  # noqa: ANN401 - a parser's
        if _ZEROS_FIRST.match(cell.strip()):
            said = "begins with 0, maybe as the rest of a number that its separator has cut"
            raise ValueError(f"{quoted(cell.strip())} {said}; write digits only")
        return parse(cell)

    return parse_id


def yes(cell: str) -> bool:
    """True for yes, False for no; a spreadsheet may also write true or false. Empty = no."""
    found = cell.strip().lower() or "no"
    if found not in {"yes", "no", "true", "false"}:
        raise ValueError(f"{quoted(cell)} is neither yes nor no")
    return found in {"yes", "true"}


def rule(cell: str) -> str:
    """The rule for a shared addition, refuse or sum; empty = refuse."""
    found = cell.strip().lower() or "refuse"
    if found not in {"refuse", "sum"}:
        raise ValueError(f"{quoted(cell)} is neither refuse nor sum")
    return found
