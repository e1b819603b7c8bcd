"""Sheets, rows and cells of a file, as text, before its header is known."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SHOWN_MISTAKES = 20


class SpreadsheetError(Exception):
    """A file with mistakes: one line of text each, at most SHOWN_MISTAKES, and the number of further ones."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        shown = list(mistakes[:SHOWN_MISTAKES])
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class Unreadable:
    """Replaces a cell or row without certain content; `said` names the mistake and its fix."""

    said: str


@dataclass(frozen=True)
class Truth(Unreadable):
    """Replaces a cell with true or false, which only a column of yes or no takes."""

    is_true: bool


Cell = str | Unreadable


@dataclass(frozen=True)
class SheetRow:
    """One row: its number (line of a text, or row of a sheet, from 1) and its cells, without empty ones at the end."""

    number: int
    cells: Sequence[Cell]
    trouble: Unreadable | None = None

    @property
    def is_blank(self) -> bool:
        """True if the row has no content."""
        return self.trouble is None and not any(is_filled(cell) for cell in self.cells)


@dataclass(frozen=True)
class Sheet:
    """A table of a file: a sheet of a workbook, or text split by one of the separators.

    `name` and `unit` locate a row: `counts.csv line 5`, `counts.xlsx sheet "Nov" row 5`. `hidden`: columns that nobody
    sees, from 1.
    """

    name: str
    unit: str
    rows: Callable[[], Iterable[SheetRow]]
    hidden: frozenset[int] = frozenset()

    def where(self, number: int) -> str:
        """The place of a row, to display."""
        return f"{self.name} {self.unit} {number}"


def is_filled(cell: Cell) -> bool:
    """True if a cell has content, readable or not."""
    return isinstance(cell, Unreadable) or bool(cell.strip())


def quoted(cell: str) -> str:
    """A cell to quote in an error text: shortened, in quotation marks, without unprintable characters."""
    text = "".join(character if character.isprintable() else "�" for character in cell)
    return f'"{text[:40]}{"…" if len(text) > 40 else ""}"'
