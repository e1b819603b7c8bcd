"""Reads CSV and XLSX files of counts and mappings. Cells with one possible meaning are read, all others are refused.

Nothing is guessed: every mistake is reported with its file, line, column and fix.
"""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from messages import MappingChanged, PhinCompany, PushLine
from messages.values import MAX_COUNT, MAX_LINES
from store.mappings import Mapping as StoredMapping
from worker.spreadsheet import csv_text, tables
from worker.spreadsheet.cells import (
    escape,
    escape_formula,
    filled,
    identifier,
    optional,
    record_id,
    rule,
    text,
    unescape,
    whole,
    yes,
)
from worker.spreadsheet.sheets import Sheet, SpreadsheetError
from worker.spreadsheet.tables import Columns

__all__ = [
    "MAX_CW_ID",
    "MAX_FILE",
    "SpreadsheetError",
    "counts_of",
    "escape",
    "escape_formula",
    "read_companies",
    "read_counts",
    "read_mappings",
    "unescape",
    "write_mappings",
]

MAX_CW_ID = 2**31 - 1
MAX_FILE = 16 * 2**20
"""The largest file in bytes; 10,000 companies with the longest names take less."""

COUNTS: Columns = {
    "company_id": filled(identifier),
    "company_name": filled(text),
    "billable_users": filled(whole(0, MAX_COUNT)),
}
MAPPINGS: Columns = {
    "company_id": filled(identifier),
    "company_name": filled(text),
    "cw_company_id": optional(record_id(MAX_CW_ID)),
    "agreement_id": optional(record_id(MAX_CW_ID)),
    "addition_id": optional(record_id(MAX_CW_ID)),
    "rule": rule,
    "minimum": optional(whole(0, MAX_COUNT)),
    "allow_not_billable": yes,
}


def read_counts(file: Path) -> list[PushLine]:
    """Read billable users: company_id, company_name, billable_users. Raises SpreadsheetError or OSError."""
    return counts_of(file.name, _content(file))


def counts_of(name: str, content: bytes) -> list[PushLine]:
    """Read billable users from the content of a file, whose name mistakes are told with. Raises SpreadsheetError."""
    return _counts(tables.find(name, _sheets(name, content), COUNTS))


def read_mappings(file: Path, partner_id: str, changed_at: datetime) -> list[MappingChanged]:
    """Read mappings as messages of this partner and version; blank ids unmap. Raises SpreadsheetError or OSError.

    Columns: company_id, company_name, cw_company_id, agreement_id, addition_id, rule, minimum and, if any company needs
    it, allow_not_billable (yes or no).
    """
    return _mappings(tables.find(file.name, _sheets(file.name, _content(file)), MAPPINGS), partner_id, changed_at)


def read_companies(file: Path) -> list[PhinCompany]:
    """Read the companies of a file of counts, or else of mappings. Raises SpreadsheetError or OSError."""
    sheets = _sheets(file.name, _content(file))
    headers = [header for sheet in sheets if (header := tables.best(sheet, COUNTS))]
    found: Iterable[PushLine | MappingChanged]
    if any("billable_users" in header.known for header in headers):
        found = _counts(tables.find(file.name, sheets, COUNTS))
    else:
        found = _mappings(tables.find(file.name, sheets, MAPPINGS), "-", datetime.now(UTC))
    return [PhinCompany(company_id=one.company_id, company_name=one.company_name) for one in found]


def write_mappings(mappings: Iterable[StoredMapping]) -> str:
    """Write mappings as `read_mappings` reads them."""
    out, every = io.StringIO(newline=""), list(mappings)
    writer = csv.writer(out, lineterminator="\n")
    allowed = any(m.allow_not_billable for m in every)
    writer.writerow(column for column in MAPPINGS if allowed or column not in tables.OPTIONAL)
    for m in every:
        ids = ("" if number is None else number for number in (m.cw_company_id, m.agreement_id, m.addition_id))
        minimum = "" if m.minimum is None else m.minimum
        allows = ["yes" if m.allow_not_billable else ""] if allowed else []
        writer.writerow((escape(m.company_id), escape(m.company_name), *ids, m.rule, minimum, *allows))
    return out.getvalue()


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE + 1)


def _sheets(name: str, data: bytes) -> list[Sheet]:
    """The tables of a file; its content tells its format, not its name."""
    from worker.spreadsheet import xlsx

    if len(data) > MAX_FILE:
        said = f"larger than {MAX_FILE // 2**20} MiB; keep only the sheet and the columns that are needed"
        raise SpreadsheetError([f"{name}: {said}"])
    return xlsx.sheets(name, data) if xlsx.is_workbook(data) else csv_text.sheets(name, data)


def _counts(header: tables.Header) -> list[PushLine]:
    """Read the counts of at most as many companies as a push takes."""
    return tables.read(header, COUNTS, lambda cells: PushLine(**cells), total_of="billable_users", at_most=MAX_LINES)


def _mappings(header: tables.Header, partner_id: str, changed_at: datetime) -> list[MappingChanged]:
    envelope: dict[str, Any] = {"partner_id": partner_id, "correlation_id": f"mapping import {changed_at.isoformat()}"}
    return tables.read(header, MAPPINGS, lambda cells: MappingChanged(**envelope, changed_at=changed_at, **cells))
