"""The installed LibreOffice, without a screen: it opens documents, and saves them as a person would."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.support.waiting import within

FORMATS = {
    "xlsx": ("en-US", "xlsx"),
    # Separator, quotation mark, character set (76 = UTF-8, 1 = Windows-1252), …, and the last: cells as they are shown.
    "csv en-US": ("en-US", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true"),
    "csv de-DE": ("de-DE", "csv:Text - txt - csv (StarCalc):59,34,1,1,,0,false,true"),
}
"""The locale and the filter by which files are saved: CSV as LibreOffice does, and as Excel does in Germany."""

_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry"><item oor:path="/org.openoffice.Setup/L10N">
<prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>{}</value></prop></item></oor:items>"""
_SPACES = "".join(
    f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{path}"'
    for name, path in {
        "office": "office:1.0",
        "table": "table:1.0",
        "text": "text:1.0",
        "style": "style:1.0",
        "number": "datastyle:1.0",
        "of": "of:1.2",
    }.items()
)
_STYLES = "".join(
    f'{number}<style:style style:name="{name}" style:family="table-cell" style:data-style-name="N{name}"/>'
    for name, number in {
        "thousands": '<number:number-style style:name="Nthousands"><number:number number:decimal-places="0"'
        ' number:min-integer-digits="1" number:grouping="true"/></number:number-style>',
        "decimals": '<number:number-style style:name="Ndecimals"><number:number number:decimal-places="2"'
        ' number:min-decimal-places="2" number:min-integer-digits="1"/></number:number-style>',
        "date": '<number:date-style style:name="Ndate"><number:day/><number:text>.</number:text><number:month/>'
        "</number:date-style>",
    }.items()
)


@dataclass(frozen=True)
class Shown:
    """A number in one of the styles `thousands` and `decimals`."""

    number: float
    style: str


@dataclass(frozen=True)
class Computed:
    """A formula, like `6*7`."""

    formula: str


@dataclass(frozen=True)
class Merged:
    """A cell that is merged with the next so many rows and columns, itself included."""

    content: str | float
    rows: int = 1
    columns: int = 1


Value = str | float | date | Shown | Computed | Merged | None


@dataclass(frozen=True)
class Table:
    """A sheet, its first row first; rows are hidden by number."""

    rows: Sequence[Sequence[Value]]
    name: str = "Sheet1"
    is_hidden: bool = False
    hidden_rows: frozenset[int] = frozenset()


def document(*tables: Table) -> str:
    """An OpenDocument spreadsheet in one XML file (.fods)."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document{_SPACES} office:version="1.3"'
        ' office:mimetype="application/vnd.oasis.opendocument.spreadsheet"><office:automatic-styles>'
        f'{_STYLES}<style:style style:name="hidden" style:family="table">'
        '<style:table-properties table:display="false"/></style:style></office:automatic-styles>'
        "<office:body><office:spreadsheet>"
        f"{''.join(map(_table, tables))}</office:spreadsheet></office:body></office:document>"
    )


def convert(files: Iterable[Path], kind: str, folder: Path) -> Path:
    """Open files and save them by one of FORMATS, or as xls or ods; the folder of the new ones, of the same names."""
    program = shutil.which("soffice")
    if program is None:
        reason = "no LibreOffice: apt-get install --no-install-recommends libreoffice-calc"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    locale, saved_as = FORMATS.get(kind, ("en-US", kind))
    profile = folder / f"profile {locale}"
    (profile / "user").mkdir(parents=True, exist_ok=True)
    (profile / "user" / "registrymodifications.xcu").write_text(_PROFILE.format(locale), "utf-8")
    out = folder / kind
    # A person is asked for separator and encoding when a text is opened, with the right ones proposed.
    options = (f"-env:UserInstallation={profile.as_uri()}", "--headless", "--infilter=CSV:44,34,76,1")
    # It writes its caches there, too.
    home = os.environ | {"HOME": str(folder)}
    subprocess.run(
        [program, *options, "--convert-to", saved_as, "--outdir", out, *files],
        env=home,
        check=True,
        capture_output=True,
        timeout=within(300),
    )
    return out


def _table(table: Table) -> str:
    rows = "".join(_row(row, is_hidden=n in table.hidden_rows) for n, row in enumerate(table.rows, 1))
    style = ' table:style-name="hidden"' if table.is_hidden else ""
    return f'<table:table table:name="{table.name}"{style}>{rows}</table:table>'


def _row(row: Sequence[Value], *, is_hidden: bool) -> str:
    hidden = ' table:visibility="collapse"' if is_hidden else ""
    return f"<table:table-row{hidden}>{''.join(map(_cell, row))}</table:table-row>"


def _cell(value: Value, attributes: str = "") -> str:
    match value:
        case None:
            return "<table:table-cell/>"
        case str():
            text = f"<text:p>{escape(value)}</text:p>"
            return f'<table:table-cell{attributes} office:value-type="string">{text}</table:table-cell>'
        case Shown(number, style):
            return _cell(number, f' table:style-name="{style}"')
        case Computed(formula):
            return f'<table:table-cell table:formula="of:={escape(formula)}"/>'
        case Merged(content, rows, columns):
            spans = f' table:number-rows-spanned="{rows}" table:number-columns-spanned="{columns}"'
            return _cell(content, spans) + "<table:covered-table-cell/>" * (columns - 1)
        case date():
            return f'<table:table-cell table:style-name="date" office:value-type="date" office:date-value="{value}"/>'
    return f'<table:table-cell{attributes} office:value-type="float" office:value="{value!r}"/>'
