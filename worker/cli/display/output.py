"""The output for people and programs: tables, lines, JSON. Text from outside is shown as text, whatever is in it."""

import json
import unicodedata
from collections.abc import Mapping, Sequence

import typer
from rich import box
from rich.console import Console
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
    """One line of text that is no markup and, without control and direction characters, cannot move the cursor."""
    kept = "".join(" " if unicodedata.category(c) in _MOVES else c for c in str(value))
    return Text(kept, style=style)


def mark(kind: str, word: str = "") -> Text:
    """A sign in its colour, with a word after it; `kind` is a key of MARKS."""
    sign, style = MARKS[kind]
    return Text(f"{sign} {word}".rstrip(), style=style)


def say(line: object = "") -> None:
    """A line on standard output."""
    out.print(safe(line), soft_wrap=True)


def paragraph(line: str) -> None:
    """Text on standard output, in as many lines as the terminal's width needs."""
    out.print(safe(line))


def note(kind: str, lines: Sequence[str]) -> None:
    """Lines on standard output behind a sign, those that are too wide wrapped beside it; `kind` is a key of MARKS."""
    shown = Table.grid(padding=(0, 1))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    shown.add_row(mark(kind), Text("\n").join(map(safe, lines)))
    out.print(shown)


def complain(line: object) -> None:
    """A line on standard error."""
    err.print(safe(line), soft_wrap=True)


def dump(document: Mapping[str, object]) -> None:
    """The one JSON document of `--json`, on standard output: an object that names what it holds."""
    typer.echo(json.dumps(document, indent=2))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Text]], *, right: Sequence[str] = (), widest: int = 24
) -> None:
    """A table on standard output; columns in `right` hold numbers. What does not fit is folded, never cut.

    The last column takes the room that the others leave, each at most `widest`, and more in a wide terminal.
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
