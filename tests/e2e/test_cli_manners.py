"""The command line's manners, the same for all commands: help, version, JSON, slips, and files left alone."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages import generate_keypair
from tests.support.commands import PROGRAM, environment, run, run_alone
from tests.support.installation import KEY, PUSH, Installation
from tests.support.partners import make_known
from worker.cli import app
from worker.cli.command_list import COMMANDS

SETTINGS = {
    "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
    "SEAL_KEYS": generate_keypair().private,
    "DATABASE_URL": "sqlite:///store.db",
}
OF_PARTNER = ("--partner", "msp-1")
READING = (
    ("status", *OF_PARTNER),
    ("connection", "list"),
    ("mapping", "list", *OF_PARTNER),
    ("mapping", "export", *OF_PARTNER),
    ("ledger", "list", *OF_PARTNER),
    ("dead-letters", "list"),
    ("dead-letters", "groups"),
    ("health",),
    ("db", "check"),
    ("db", "prune", "--dry-run"),
    ("topology", "check"),
)


def commands(group: Any, *names: str) -> Iterator[tuple[str, ...]]:
    """Every command, and every group of commands, as it is typed."""
    yield names
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *names, name)


EACH = [(), *(names for name, command in COMMANDS.items() for names in commands(command.load(name), name))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an installation without partners."""
    assert run("db", "upgrade", folder=tmp_path, settings=SETTINGS).returncode == 0
    return tmp_path


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_makes_no_database(command: tuple[str, ...], tmp_path: Path) -> None:
    """In a folder without a database what only reads leaves none behind, and says which one it looked for."""
    done = run(*command, folder=tmp_path, settings=SETTINGS)
    assert list(tmp_path.iterdir()) == []
    if command != ("topology", "check"):
        assert done.returncode == 4
        assert str(tmp_path / "store.db") in "".join((done.stdout + done.stderr).split())


def test_an_upgrade_says_what_it_did(tmp_path: Path) -> None:
    """`db upgrade` names the database, and the versions of its tables before and after."""
    first, second = (run("db", "upgrade", folder=tmp_path, settings=SETTINGS).stdout for _ in range(2))
    assert first.startswith(f"The tables of {tmp_path / 'store.db'} are at version ")
    assert first.endswith("; before: none.\n")
    assert second.endswith("already: nothing to do.\n")


def test_an_unknown_partner_is_a_slip(folder: Path) -> None:
    """A partner that nobody knows ends with 2, naming those that there are, and nothing is done."""
    known = folder / "known.csv"
    columns = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"
    known.write_text(f"{columns}\nc-1,Acme,1,2,3,refuse,\n", "utf-8")
    counts = folder / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc-1,Acme,1\n", "utf-8")
    make_known(f"sqlite:///{folder}/store.db", "msp-2")
    ids = ("--cw-company", "1", "--agreement", "2", "--addition", "3")
    typed = (
        ("status",),
        ("mapping", "list"),
        ("mapping", "export", "all.csv"),
        ("mapping", "health"),
        ("mapping", "remove", "--company", "c-1", "--yes"),
        ("connection", "list"),
        ("connection", "check"),
        ("connection", "remove", "--yes"),
        ("ledger", "list"),
        ("ledger", "export", "ledger.csv"),
        ("revert", "--push", "p", "--yes"),
        ("pause", "--why", "they upgrade"),
        ("resume",),
        ("push", "--period", "2026-11", "--counts", str(counts)),
        ("push", "--period", "2026-11", "--counts", str(counts), "--no-wait"),
        ("push", "cancel", "nonsense", "--yes"),
        ("mapping", "import", str(known)),
        ("mapping", "set", "--company", "c-1", *ids),
        ("mapping", "suggest", "--counts", str(counts)),
        ("catalog", "companies"),
        ("catalog", "agreements", "--cw-company", "1"),
        ("catalog", "additions", "--agreement", "1"),
    )
    for command in typed:
        done = run(*command, *OF_PARTNER, folder=folder, settings=SETTINGS)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert done.stderr == "No partner msp-1 is known.\nKnown: msp-2.\n", command
    assert not [file.name for file in folder.iterdir() if file.name in {"all.csv", "ledger.csv"}]


def test_a_push_that_nobody_sent_is_not_waited_for(mapped: Installation) -> None:
    """`push cancel` of a mistyped id ends with 2 at once; a push that was sent and not begun is cancelled."""
    cancel = ("push", "cancel", *OF_PARTNER, "--yes")
    done = mapped.run(*cancel, "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No push nonsense of partner msp-1 was sent" in done.stderr
    push_id = mapped.json(*PUSH, "--no-wait")["push"]["push_id"]
    done = mapped.run(*cancel, push_id)
    assert done.returncode == 0, done.stderr
    assert mapped.json("status", *OF_PARTNER, "--push", push_id)["push"]["state"] == "cancelled"


def test_json_roots_are_objects(folder: Path) -> None:
    """Every `--json` prints one object that names what it holds, so that more can be added to it."""
    for command in (("connection", "list"), ("dead-letters", "list"), ("dead-letters", "groups"), ("health",)):
        document = json.loads(run(*command, "--json", folder=folder, settings=SETTINGS).stdout)
        assert isinstance(document, dict)
        assert document


def test_a_misspelt_setting_is_named_by_every_command(folder: Path) -> None:
    """A variable with our prefix that is no setting is most likely a slip: whoever runs a command reads its name."""
    for command in (("connection", "list"), ("db", "upgrade"), ("keys", "generate")):
        done = run(*command, folder=folder, settings={**SETTINGS, "DATABSE_URL": "hunter2"})
        assert done.returncode == 0
        assert "PHIN_CONNECTWISE_DATABSE_URL is no setting" in done.stderr
        assert "hunter2" not in done.stderr


def test_every_help_is_for_people(tmp_path: Path) -> None:
    """`-h` is `--help`, at every command, and no type of a programming language is in it."""
    for command in EACH:
        told = typer_help(command)
        assert not re.search(r"list\[|<(?:bool|str|int|float)", told.lower()), command
        assert "Usage: phin-connectwise" in told, command
    short, long = (run("mapping", "set", option, folder=tmp_path) for option in ("-h", "--help"))
    assert (short.returncode, short.stdout) == (0, long.stdout)


def typer_help(command: tuple[str, ...]) -> str:
    """The text that Typer prints for `--help` of a command."""
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, [*command, "-h"], prog_name="phin-connectwise")
    assert done.exit_code == 0, done.output
    return done.output


def test_version_and_completion(tmp_path: Path) -> None:
    """`--version` names the program's version; the shell that asks can be taught to complete its commands."""
    assert run_alone("--version", folder=tmp_path).stdout.startswith("phin-connectwise 0.")
    # The shell is the parent of what it runs: with no command behind, it would become the program itself.
    in_bash = ["bash", "-c", '"$0" --show-completion; exit $?', PROGRAM]
    shown = subprocess.run(in_bash, cwd=tmp_path, env=environment({}), capture_output=True, text=True, check=True)
    assert "_PHIN_CONNECTWISE_COMPLETE" in shown.stdout


def test_one_name_for_one_thing() -> None:
    """`--company` is a company's id in Phin, `--by` who does it, wherever they are."""
    told = {command: typer_help(command) for command in EACH}
    assert not [command for command, text in told.items() if "--requested-by" in text]
    with_company = {command for command, text in told.items() if " --company " in text and " set " not in command}
    assert ("connection", "set") not in with_company
    assert ("catalog", "agreements") not in with_company
    assert {("mapping", "set"), ("mapping", "remove"), ("revert",), ("ledger", "list")} <= with_company


def test_another_connectwise_is_connected_after_a_yes(mapped: Installation) -> None:
    """All companies would have to be mapped again, so `connection set` asks; the same one anew needs no yes."""
    site = ("--site", "https://localhost", "--company-identifier", "other", "--public-key", "k")
    command = ("connection", "set", *OF_PARTNER, *site, "--no-wait")
    asked = mapped.run(*command, typed="key\n")
    assert asked.returncode == 1
    assert "22 companies are mapped to" in asked.stderr
    (kept,) = mapped.json("connection", "list")["connections"]
    assert kept["company_identifier"] == "harbourit"
    assert mapped.connect(f"{KEY}\n").returncode == 0
    assert mapped.run(*command, "--yes", typed="key\n").returncode == 0


def test_an_import_that_unmaps_asks_first(mapped: Installation) -> None:
    """A file with blank ids for a company that is billed names it, and does nothing without a yes."""
    columns = "company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum"
    (mapped.folder / "less.csv").write_text(f"{columns}\nc-101,Alder,,,,refuse,\n", "utf-8")
    command = ("mapping", "import", *OF_PARTNER, "less.csv")
    asked = mapped.run(*command)
    assert asked.returncode == 1
    assert "No push bills Alder & Finch Architects (c-101) any more" in asked.stderr
    assert mapped.json(*command, "--yes")["mappings"][0]["addition_id"] is None
