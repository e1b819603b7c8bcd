"""Files at the command line: a workbook, ids that are nearly right, and an export that was opened and saved."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from messages import generate_keypair
from store import Database, mappings
from store.mappings import Mapping
from tests.support.commands import run
from tests.support.libreoffice import FORMATS, convert
from tests.support.xlsx import Page, Value, workbook

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
PARTNER = ("--partner", "msp-1")


@pytest.fixture
def settings(sqlite_url: str) -> dict[str, str]:
    """An installation in which three companies are mapped, and nothing is connected."""
    database = Database(sqlite_url)
    with database.begin() as tx:
        mappings.save(tx, Mapping("msp-1", "c-x", AT, "m", "Müller & Söhne", 100, 20, 2000, "sum", 5))
        mappings.save(tx, Mapping("msp-1", "007", AT, "m", "May 3", 100, 20))
        mappings.save(tx, Mapping("msp-1", "1E5", AT, "m", "=1+1"))
    database.close()
    client_id = "00000000-0000-0000-0000-000000000001"
    return {"DATABASE_URL": sqlite_url, "SEAL_KEYS": generate_keypair().private, "CLIENT_ID": client_id}


def test_a_workbook_is_pushed_and_nearly_right_ids_are_named(settings: dict[str, str], tmp_path: Path) -> None:
    """`push` takes an XLSX file, and says which of its ids differ from a mapped one only in zeros."""
    rows: list[tuple[Value, ...]] = [
        ("Company ID", "Company Name", "Billable Users"),
        ("c-x", "Müller", 42),
        (7, "May", 7),
    ]
    (tmp_path / "counts.xlsx").write_bytes(workbook(Page(rows)))
    push = ("push", *PARTNER, "--period", "2026-11", "--counts", "counts.xlsx", "--preview", "--json")
    done = run(*push, folder=tmp_path, settings=settings)
    assert [(line["company_id"], line["billable_users"]) for line in json.loads(done.stdout)["lines"]] == [
        ("7", 7),
        ("c-x", 42),
    ]
    assert "7 is not mapped, but 007 is. If they are the same company, correct the id." in done.stderr


def test_an_id_in_other_capitals_bills_nothing(settings: dict[str, str], tmp_path: Path) -> None:
    """Counts, mappings and suggestions for C-X, while c-x is mapped, end with 2: nothing is sent, nothing billed twice.

    What an export holds of C-X, mapped once by mistake and unmapped since, is imported all the same.
    """
    (tmp_path / "counts.csv").write_text("company_id,company_name,billable_users\nC-X,Müller,42\n", "utf-8")
    columns = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"
    (tmp_path / "mappings.csv").write_text(f"{columns}\nC-X,Müller,100,20,2000,sum,\n", "utf-8")
    (tmp_path / "unmap.csv").write_text(f"{columns}\nC-X,Müller,,,,,\n", "utf-8")
    counts = ("--counts", "counts.csv")
    for command in (
        ("push", "--period", "2026-11", *counts),
        ("mapping", "import", "mappings.csv"),
        ("mapping", "import", "unmap.csv"),
        ("mapping", "set", "--company", "C-X", "--cw-company", "100", "--agreement", "20", "--addition", "2000"),
        ("mapping", "suggest", *counts),
    ):
        done = run(*command, *PARTNER, folder=tmp_path, settings=settings)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert "C-X is not mapped, but c-x is, which differs only in capitals." in done.stderr
        assert done.stderr.endswith("Nothing was sent.\n")
    database = Database(settings["DATABASE_URL"])
    with database.begin() as tx:
        assert len(mappings.of_partner(tx, "msp-1")) == 3
        mappings.save(tx, Mapping("msp-1", "C-X", AT, "m", "Müller & Söhne"))
    database.close()
    run("mapping", "export", *PARTNER, "all.csv", folder=tmp_path, settings=settings)
    done = run("mapping", "import", *PARTNER, "all.csv", folder=tmp_path, settings=settings)
    assert "4 companies: " in done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [("mapping", "export", *PARTNER), ("ledger", "export", *PARTNER), ("mapping", "suggest", *PARTNER, "--csv")],
)
def test_csv_is_not_written_under_another_name(
    settings: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A command that writes CSV refuses a workbook's name, under which no spreadsheet program would open it."""
    done = run(*command, "out.XLSX", folder=tmp_path, settings=settings)
    assert done.returncode == 2
    assert "out.csv" in done.stderr
    assert not (tmp_path / "out.XLSX").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_that_libreoffice_saved_changes_nothing(settings: dict[str, str], tmp_path: Path, kind: str) -> None:
    """LibreOffice can open and save a file of `mapping export`, and `mapping import` finds nothing to change in it."""

    def listed() -> Any:
        told = json.loads(run("mapping", "list", *PARTNER, "--json", folder=tmp_path, settings=settings).stdout)
        changing = {"changed_at", "check", "state"}
        return [{name: one[name] for name in one.keys() - changing} for one in told["mappings"]]

    before = listed()
    run("mapping", "export", *PARTNER, "mappings.csv", folder=tmp_path, settings=settings)
    saved = convert([tmp_path / "mappings.csv"], kind, tmp_path) / f"mappings.{kind[:4].strip()}"
    done = run("mapping", "import", *PARTNER, saved, folder=tmp_path, settings=settings)
    assert "3 companies: " in done.stdout, done.stderr
    assert listed() == before
    assert {one["company_id"] for one in before} == {"c-x", "007", "1E5"}
