"""Output primitives: lines, tables, JSON. Text from outside is printed as text, whatever it contains."""

import json
import unicodedata
from collections.abc import Mapping, Sequence

import typer
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MARKS = {
    "good": ("✓", "green"),
    "bad": ("✗", "red"),
    "unknown": ("?", "yellow"),
    "warning": ("!", "yellow"),
    "none": ("\N{EN DASH}", "dim"),
    "waiting": ("…", "yellow"),
}

# Control, format (direction) and half characters, line and paragraph separators.
_MOVES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def safe(value: object, style: str = "") -> Text:
    """One line of plain text, without markup and without characters that could move the cursor."""
    kept = "".join(" " if unicodedata.category(c) in _MOVES else c for c in str(value))
    return Text(kept, style=style)


def mark(kind: str, word: str = "") -> Text:
    """A coloured sign, followed by a word; `kind` is a key of MARKS."""
    sign, style = MARKS[kind]
    return Text(f"{sign} {word}".rstrip(), style=style)


def say(line: object = "") -> None:
    """Print a line on standard output."""
    out.print(safe(line), soft_wrap=True)


def plural(count: float, one: str, more: str | None = None) -> str:
    """A number with its noun: `1 user`, `2 users`; `more` is an irregular plural."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def paragraph(line: str, indent: int = 0) -> None:
    """Print text on standard output, wrapped to the terminal's width; all its lines are indented."""
    out.print(Padding.indent(safe(line), indent))


def note(kind: str, lines: Sequence[str]) -> None:
    """Print lines on standard output behind a sign, wrapped beside it; `kind` is a key of MARKS."""
    shown = Table.grid(padding=(0, 1))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    shown.add_row(mark(kind), Text("\n").join(map(safe, lines)))
    out.print(shown)


def complain(line: object) -> None:
    """Print a line on standard error."""
    err.print(safe(line), soft_wrap=True)


def dump(document: Mapping[str, object]) -> None:
    """Print the one JSON document of `--json` on standard output."""
    typer.echo(json.dumps(document, indent=2))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Text]], *, right: Sequence[str] = (), widest: int = 24
) -> None:
    """Print a table on standard output; columns in `right` hold numbers. Cells that do not fit are folded, never cut.

    Columns are at most `widest` characters wide, more in a wide terminal; the last column takes the rest.
    """
    widest += max(0, out.width - 80) // 3
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="bold")
    for header in headers:
        numbers = header in right
        shown.add_column(
            header,
            justify="right" if numbers else "left",
            no_wrap=numbers,
            overflow="fold",
            max_width=None if header is headers[-1] else widest,
        )
    for row in rows:
        shown.add_row(*row)
    out.print(shown)
