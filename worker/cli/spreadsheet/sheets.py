"""The rows of a file, as text, before anybody knows what its columns are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SHOWN_MISTAKES = 20


class SpreadsheetError(Exception):
    """A file that cannot be used: one line of text per mistake, at most SHOWN_MISTAKES and how many there are more."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        shown = list(mistakes[:SHOWN_MISTAKES])
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class Unreadable:
    """The stand-in for a cell, or a row, that has no certain content: it says why, and what to do."""

    said: str


Cell = str | Unreadable


@dataclass(frozen=True)
class SheetRow:
    """One row, where it begins (the line of a text, the row of a sheet, from 1), and its cells without empty ones."""

    number: int
    cells: Sequence[Cell]
    trouble: Unreadable | None = None

    @property
    def is_blank(self) -> bool:
        """True if there is nothing in it."""
        return self.trouble is None and not any(is_filled(cell) for cell in self.cells)


@dataclass(frozen=True)
class Sheet:
    """A table of a file: a sheet of a workbook, or the text as it is split by one of the separators.

    `name` and `unit` say where a row is: `counts.csv line 5`, `counts.xlsx sheet "Nov" row 5`.
    """

    name: str
    unit: str
    rows: Callable[[], Iterable[SheetRow]]

    def where(self, number: int) -> str:
        """The place of a row, for a person."""
        return f"{self.name} {self.unit} {number}"


def is_filled(cell: Cell) -> bool:
    """True if a cell has a content, be it one that cannot be read."""
    return isinstance(cell, Unreadable) or bool(cell.strip())


def quoted(cell: str) -> str:
    """A cell within an error text: short, quoted, nothing that cannot be seen."""
    text = "".join(character if character.isprintable() else "�" for character in cell)
    return f'"{text[:40]}{"…" if len(text) > 40 else ""}"'
