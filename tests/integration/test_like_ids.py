"""Ids that are likely another spelling of a mapped company's id."""

from datetime import UTC, datetime

import pytest
import typer

from store import Database, mappings
from store.mappings import Mapping
from worker.cli.similar_ids import check_similar_ids

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_lost_zeros_are_hinted_at(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that is not mapped, beside a mapped one without its zeros, is named with that one.

    Ids that are known themselves, that are like one which is not mapped, or like none, are not.
    """
    ids = ("c-x", "c-007", "0042", "c-Y", "C-Y")
    with database.begin() as tx:
        for company_id in ids:
            mappings.save(tx, Mapping("msp-1", company_id, AT, "m", "Acme", 100, 20, 2000))
        mappings.save(tx, Mapping("msp-1", "c-unmapped", AT, "m", "Acme"))
    check_similar_ids(database, "msp-1", [*ids, "C-7", "42", "C-UNMAPPED", "c-70", "other"])
    assert capsys.readouterr().err.splitlines() == [
        "C-7 is not mapped, but c-007 is. If they are the same company, correct the id.",
        "42 is not mapped, but 0042 is. If they are the same company, correct the id.",
    ]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_other_capitals_are_refused(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose ids are all in other capitals ends with 2, told by ten of them and the number of the others.

    One of them that was mapped by mistake once, and unmapped, is refused too.
    """
    with database.begin() as tx:
        for number in range(15):
            mappings.save(tx, Mapping("msp-1", f"c-{number}x", AT, "m", "Acme", 100, 20, 2000))
        mappings.save(tx, Mapping("msp-1", "C-0X", AT, "m", "Acme"))
    with pytest.raises(typer.Exit) as ended:
        check_similar_ids(database, "msp-1", [f"C-{number}X" for number in range(15)])
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "C-0X is not mapped, but c-0x is, which differs only in capitals. Correct the id."
    assert said[10:] == ["5 more ids are like mapped ones.", "Nothing was sent."]
