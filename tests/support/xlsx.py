"""XLSX workbooks written by hand, also such as no spreadsheet program writes."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from xml.sax.saxutils import escape, quoteattr

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_CONTENT = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
_HIDDEN = ' hidden="1"'
_FLAT = ' ht="0" customHeight="1"'
_EPOCH = date(1899, 12, 30)


@dataclass(frozen=True)
class Formula:
    """A formula and the XML of its cached result, like `<v>42</v>`."""

    result: str = ""


@dataclass(frozen=True)
class Failed:
    """A cell that shows the error of a formula."""

    error: str


@dataclass(frozen=True)
class Shared:
    """A text of those that all sheets share, by its index."""

    index: int


@dataclass(frozen=True)
class Formatted:
    """A number in one of the workbook's own formats, by its index."""

    number: float
    index: int = 0


@dataclass(frozen=True)
class Struck:
    """A number with a line through it."""

    number: float


Value = str | float | bool | date | Formula | Failed | Shared | Formatted | Struck | None


@dataclass(frozen=True)
class Page:
    """One sheet, its first row first; rows and columns are hidden by number, cells merged by range.

    `flat`: rows without a height, by number.
    `only_used`: the rows below are hidden, as Excel does it, by the height of all rows that the sheet does not have.
    """

    rows: Sequence[Sequence[Value]]
    name: str = "Sheet1"
    state: str = "visible"
    hidden: frozenset[int] = frozenset()
    merged: Sequence[str] = ()
    flat: frozenset[int] = frozenset()
    only_used: bool = False
    hidden_columns: frozenset[int] = frozenset()


def workbook(*pages: Page, properties: str = "", shared: Sequence[str] = (), formats: Sequence[str] = ()) -> bytes:
    """The bytes of a workbook with these sheets; `properties` is XML that follows the list of sheets.

    `shared`: the XML of each text that is shared. `formats`: the codes of number formats.
    """
    own = range(164, 164 + len(formats))
    cell_formats = "".join(f'<xf numFmtId="{n}"/>' for n in own)
    codes = "".join(
        f'<numFmt numFmtId="{n}" formatCode={quoteattr(code)}/>' for n, code in zip(own, formats, strict=True)
    )
    ids = range(1, len(pages) + 1)
    listed = "".join(
        f'<sheet name={quoteattr(page.name)} sheetId="{n}" state="{page.state}" r:id="rId{n}"/>'
        for n, page in zip(ids, pages, strict=True)
    )
    links = "".join(_link(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in ids)
    texts = _link("rId", "sharedStrings", "sharedStrings.xml") if shared else ""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_CONTENT}"/></Types>',
        "_rels/.rels": _links(_link("rId1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets>{properties}'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": _links(links + _link("rId0", "styles", "styles.xml") + texts),
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><numFmts>{codes}</numFmts><fonts><font>'
        '<strike val="0"/></font><font><strike/></font></fonts><cellXfs><xf numFmtId="0" fontId="0"/>'
        f'<xf numFmtId="14" fontId="0"/><xf numFmtId="0" fontId="1"/>{cell_formats}</cellXfs></styleSheet>',
    }
    if shared:
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{_MAIN}">{"".join(f"<si>{one}</si>" for one in shared)}</sst>'
    parts |= {f"xl/worksheets/sheet{n}.xml": _page(page) for n, page in zip(ids, pages, strict=True)}
    return packed(parts)


def packed(parts: dict[str, str]) -> bytes:
    """The parts as a compressed archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, part in parts.items():
            archive.writestr(path, part)
    return out.getvalue()


def _page(page: Page) -> str:
    rows = "".join(
        f'<row r="{n}"{_HIDDEN * (n in page.hidden)}{_FLAT * (n in page.flat)}>{"".join(map(_cell, row))}</row>'
        for n, row in enumerate(page.rows, 1)
    )
    merged = "".join(f'<mergeCell ref="{one}"/>' for one in page.merged)
    height = '<sheetFormatPr defaultRowHeight="15" zeroHeight="1"/>' if page.only_used else ""
    columns = "".join(f'<col min="{n}" max="{n}"{_HIDDEN}/>' for n in page.hidden_columns)
    cells = f"{height}<cols>{columns}</cols><sheetData>{rows}</sheetData><mergeCells>{merged}</mergeCells>"
    return f'<worksheet xmlns="{_MAIN}">{cells}</worksheet>'


def _cell(value: Value) -> str:
    match value:
        case None:
            return "<c/>"
        case Formula(result):
            return f"<c><f>1+1</f>{result}</c>"
        case Failed(error):
            return f'<c t="e"><f>1/0</f><v>{error}</v></c>'
        case Formatted(number, index):
            return f'<c s="{3 + index}"><v>{number!r}</v></c>'
        case Struck(number):
            return f'<c s="2"><v>{number!r}</v></c>'
        case Shared(index):
            return f'<c t="s"><v>{index}</v></c>'
        case bool():
            return f'<c t="b"><v>{value:d}</v></c>'
        case date():
            return f'<c s="1"><v>{(value - _EPOCH).days}</v></c>'
        case str():
            return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f"<c><v>{value!r}</v></c>"


def _links(links: str) -> str:
    return f'<Relationships xmlns="{_PACKAGE}">{links}</Relationships>'


def _link(link_id: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{link_id}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
