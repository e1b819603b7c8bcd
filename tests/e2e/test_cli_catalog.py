"""`catalog` and `mapping suggest` as a person or a script uses them, embedded."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cwclient.simulator import SimulatorServer, StateDocument
from messages import generate_keypair
from tests.support.commands import run
from tests.support.world import tenant

KEY = "private-key-of-the-test"
PARTNER = ("--partner", "p1")


@dataclass(frozen=True)
class Installation:
    """A folder with settings and a SQLite file; partner p1 is connected to a simulated ConnectWise."""

    folder: Path
    settings: dict[str, str]
    simulator: SimulatorServer

    def run(self, *arguments: str | Path, typed: str = "", code: int = 0) -> str:
        """Run a command, which is to end with this code; what it printed."""
        done = run(*arguments, folder=self.folder, settings=self.settings, typed=typed)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        """The one JSON document that a command prints."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def counts(self, *names: str) -> Path:
        """A file of counts for companies n1, n2, … of these names."""
        rows = [f"n{number},{name},5" for number, name in enumerate(names, 1)]
        file = self.folder / "counts.csv"
        file.write_text("\n".join(["company_id,company_name,billable_users", *rows]), "utf-8")
        return file

    def mappings(self) -> dict[str, tuple[int | None, int | None, int | None]]:
        """The stored mappings by company."""
        found = self.json("mapping", "list", *PARTNER)["mappings"]
        return {one["company_id"]: (one["cw_company_id"], one["agreement_id"], one["addition_id"]) for one in found}


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Installation]:
    """Companies 1 to 3 as in other tests, 7 Acme with one Phin addition of two, 8 and 9 alike, 10 without agreement."""
    settings = {
        "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
        "SEAL_KEYS": generate_keypair().private,
        "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "DATABASE_URL": "sqlite:///store.db",
    }
    more = {
        "company_identifier": "cw-p1",
        "companies": [
            {"id": 7, "name": "Acme"},
            {"id": 8, "name": "Globex Inc"},
            {"id": 9, "name": "Globex LLC"},
            {"id": 10, "name": "Hooli"},
            {"id": 11, "name": "Acme", "deletedFlag": True},
        ],
        "agreements": [{"id": 71, "company": {"id": 7}, "name": "Gold"}],
        "additions": [
            {"id": 1, "agreementId": 71},
            {"id": 2, "agreementId": 71, "description": "Phin SAT", "quantity": 4, "unitPrice": 2.5},
        ],
    }
    with SimulatorServer({"tenants": [tenant("p1", 3)]}) as simulator:
        simulator.state.merge(StateDocument.model_validate({"tenants": [more]}))
        made = Installation(tmp_path, settings, simulator)
        made.run("db", "upgrade")
        site = ("--site", simulator.url, "--company-identifier", "cw-p1", "--public-key", "public")
        made.run("connection", "set", *PARTNER, *site, "--ca-file", str(simulator.ca_file), typed=f"{KEY}\n")
        yield made


def test_a_company_agreement_and_addition_are_found(connected: Installation) -> None:
    """Three commands lead from a name to the ids that `mapping set` takes, and say what can be billed."""
    shown = connected.run("catalog", "companies", *PARTNER, "--search", "ACM")
    assert [line.split() for line in shown.splitlines()[2:3]] == [["7", "Acme", "Acme"]]
    assert "1 company, as of" in shown
    (agreement,) = connected.json("catalog", "agreements", *PARTNER, "--cw-company", "7")["choices"]
    assert (agreement["id"], agreement["name"], agreement["problem"]) == (71, "Gold", None)
    additions = connected.run("catalog", "additions", *PARTNER, "--agreement", "71")
    assert "Phin SAT" in additions
    assert "2.50" in additions
    assert additions.count("✓") == 2
    asked = len(connected.simulator.log)
    assert connected.json("catalog", "companies", *PARTNER)["more"] is False
    assert len(connected.simulator.log) == asked


def test_a_list_that_was_kept_says_how_to_read_it_anew(connected: Installation) -> None:
    """A record that was added in ConnectWise a moment ago is not in the list that was kept, which names the option."""
    agreements = ("catalog", "agreements", *PARTNER, "--cw-company", "8")
    first, again = connected.run(*agreements), connected.run(*agreements)
    assert "--refresh" not in first
    assert first.splitlines()[-1].removesuffix(".") in again
    assert again.splitlines()[-1].endswith(" UTC; --refresh asks ConnectWise again.")
    connected.simulator.state.merge(
        StateDocument.model_validate(
            {
                "tenants": [
                    {"company_identifier": "cw-p1", "agreements": [{"id": 81, "company": {"id": 8}, "name": "New"}]}
                ]
            }
        )
    )
    assert "New" not in connected.run(*agreements)
    assert "New" in connected.run(*agreements, "--refresh")


def test_what_stands_in_the_way_is_said(connected: Installation) -> None:
    """Without a connection the command ends with 1, and its text says what to do."""
    connected.run("connection", "remove", *PARTNER, "--yes")
    shown = connected.run("catalog", "companies", *PARTNER, code=1)
    assert "✗ No choices: ConnectWise is not connected." in shown
    assert "Connect ConnectWise" in shown
    assert connected.json("catalog", "companies", *PARTNER, code=1)["problem"]["code"] == "not_connected"


def test_suggestions_are_shown_and_nothing_is_mapped(connected: Installation) -> None:
    """`mapping suggest` shows score, reason and proposals, says how many are certain, and maps nothing."""
    counts = connected.counts("Acme", "Globex", "hooli", "Initech")
    shown = connected.run("mapping", "suggest", *PARTNER, "--counts", counts)
    text = " ".join(shown.split())
    assert "✓ Acme #7: same name" in text
    assert "Gold > Phin SAT" in text
    assert "? Hooli #10: other capitals 97 choose agreement and addition" in text
    assert "no suggestion" in text
    assert "4 companies: 1 certain, 2 to look at, 1 without a suggestion" in text
    assert connected.mappings() == {}


def test_only_exact_names_are_accepted_in_bulk(connected: Installation) -> None:
    """`--accept-exact` maps exact names with what is proposed, also unfinished ones; not others, and no choice anew."""
    begun = connected.folder / "begun.csv"
    columns = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"
    begun.write_text(f"{columns}\nn5,Company 2,3,,,refuse,\n", "utf-8")
    connected.run("mapping", "import", *PARTNER, begun)
    names = ("Acme", "Globex", "hooli", "Company 1", "Company 2", "Company 3")
    done = connected.json("mapping", "suggest", *PARTNER, "--counts", connected.counts(*names), "--accept-exact")
    assert {one["company_id"]: one["state"] for one in done["accepted"]} == {"n1": "complete", "n4": "incomplete"}
    mapped = {"n1": (7, 71, 2), "n4": (1, 1001, None), "n5": (3, None, None)}
    assert connected.mappings() == mapped
    again = connected.json("mapping", "suggest", *PARTNER, "--counts", connected.counts(*names), "--accept-exact")
    assert again["accepted"] == []
    assert "n1" not in {one["company_id"] for one in again["suggestions"]}


def test_suggestions_are_written_to_edit_and_import(connected: Installation) -> None:
    """`--csv` writes what is not ambiguous, keeps what was chosen, and `mapping import` takes the file.

    It is not written over: somebody may have edited it.
    """
    file = connected.folder / "suggested.csv"
    counts = connected.counts("Acme", "Globex", "hooli")
    connected.run("mapping", "suggest", *PARTNER, "--counts", counts, "--csv", file)
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = {row["company_id"]: (row["cw_company_id"], row["addition_id"]) for row in csv.DictReader(opened)}
    assert rows == {"n1": ("7", "2"), "n2": ("", ""), "n3": ("10", "")}
    connected.run("mapping", "suggest", *PARTNER, "--counts", counts, "--csv", file, code=2)
    connected.run("mapping", "import", *PARTNER, file)
    assert connected.mappings()["n1"] == (7, 71, 2)
    left = connected.json("mapping", "suggest", *PARTNER, "--counts", file)
    assert {one["company_id"] for one in left["suggestions"]} == {"n2", "n3"}
