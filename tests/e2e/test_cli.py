"""The commands as a person or a script uses them: real processes, `local:`, a simulated ConnectWise."""

import json
import re
import signal
import subprocess
import sys
from typing import Any

from cwclient.simulator import StateDocument, faults
from tests.support.commands import environment
from tests.support.installation import KEY, PUSH, Installation
from tests.support.waiting import wait_for, within


def test_connecting_shows_the_rights_and_never_the_key(installation: Installation) -> None:
    """`connection set` seals the key, prints each right with what to do, and `connection list` shows the outcome."""
    done = installation.connect(f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓ granted") == 2
    assert "? unproven" in done.stdout
    (listed,) = installation.json("connection", "list")["connections"]
    assert listed["connected"] is True
    assert listed["check"]["status"] == "ok"
    stored = b"".join(file.read_bytes() for file in installation.folder.iterdir())
    assert KEY not in done.stdout + done.stderr + json.dumps(listed)
    assert KEY.encode() not in stored


def test_a_wrong_key_is_explained(installation: Installation) -> None:
    """With a wrong private key `connection set` ends with 1 and says what to do, without showing the key."""
    done = installation.connect("WrongPrivateKey\n")
    assert done.returncode == 1
    assert "ConnectWise refused the keys" in done.stdout
    assert "create new API keys" in done.stdout
    assert "WrongPrivateKey" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_connection_is_checked_again(mapped: Installation) -> None:
    """`connection check` says which row of the security role was taken away, and that all is well once it is back."""
    key = {"public": "Demo4PublicKey", "private": KEY}
    for rights, code, told in (
        ({"agreements_inquire": "none"}, 1, "Finance > Agreements > Inquire"),
        ({}, 0, "✓ Connected."),
    ):
        tenant = {"company_identifier": "harbourit", "keys": [key | {"rights": rights}]}
        mapped.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))
        done = mapped.run("connection", "check", "--partner", "msp-1")
        assert done.returncode == code, done.stderr
        assert told in done.stdout
    assert mapped.run("connection", "check", "--partner", "stranger").returncode == 2


def test_a_push_ends_with_a_table_of_what_to_do(mapped: Installation) -> None:
    """`push` prints each company's quantity before and after, the reason and remedy of each red X, and ends with 1."""
    done = mapped.run(*PUSH)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert any("Alder & Finch Architects" in line and "18 → 21" in line and "✓" in line for line in lines)
    assert any("Nordhaus" in line and "12.5 → 13" in line and "✓" in line for line in lines)
    assert any(
        "Juniper Wealth" in line and line.rstrip().endswith("✗  held: The addition is cancelled") for line in lines
    )
    assert "25 companies: 12 updated, 3 unchanged, 3 held, 4 failed, 3 skipped" in lines
    assert "Not billed, as not mapped: 29 users of Hollis Brothers Roofing (12)" in " ".join(done.stdout.split())
    assert max(len(line) for line in lines if "https://" not in line) <= 80
    assert "\x1b" not in done.stdout + done.stderr


def test_a_push_repeated_writes_nothing(mapped: Installation) -> None:
    """Pushing the same counts twice writes once per changed addition; `--json` is one document with every line."""
    first = mapped.json(*PUSH)
    assert first["counts"] == {"updated": 12, "unchanged": 3, "held": 3, "failed": 4, "skipped": 3}
    assert mapped.writes == 11
    again = mapped.json(*PUSH)
    assert again["counts"] == {"unchanged": 15, "held": 3, "failed": 4, "skipped": 3}
    assert mapped.writes == 11
    assert again["push"]["state"] == "completed"
    assert {line["company_id"]: line["quantity_after"] for line in again["lines"]}["c-117"] == 43
    assert [company["company_id"] for company in again["unmapped"]] == ["c-108", "c-109"]
    status = mapped.json("status", "--partner", "msp-1", "--push", first["push"]["push_id"])
    assert status == first
    newest = mapped.json("status", "--partner", "msp-1")
    assert newest["lines"] == again["lines"]


def test_a_preview_writes_nothing(mapped: Installation) -> None:
    """`push --preview` says what would change and what it would cost, and leaves ConnectWise as it is."""
    done = mapped.run(*PUSH, "--preview")
    assert "18 → 21" in done.stdout
    assert done.stdout.startswith("Preview of 2026-11: nothing is written.\n")
    assert "52.50 (+7.50)" in done.stdout
    assert mapped.writes == 0


def test_a_worker_beside_takes_what_was_sent(mapped: Installation) -> None:
    """A push sent with `--no-wait` is done by a worker, which ends with 0 after SIGTERM."""
    done = mapped.run(*PUSH, "--no-wait", "--json")
    assert done.returncode == 0
    push_id = json.loads(done.stdout)["push"]["push_id"]
    assert push_id in done.stderr
    unknown = mapped.run("status", "--partner", "msp-1", "--push", push_id)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    command = [sys.executable, "-m", "worker.cli", "worker"]
    with subprocess.Popen(
        command, cwd=mapped.folder, env=environment(mapped.settings), stderr=subprocess.DEVNULL
    ) as worker:
        try:
            wait_for(lambda: mapped.writes == 11, "eleven writes")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(within(30)) == 0
        finally:
            worker.kill()


def test_a_push_that_is_stopped_says_how_it_goes_on(mapped: Installation) -> None:
    """Ctrl-C ends a push with 130 and says how many lines wait; so does `status`, until the next push does them."""
    command = [sys.executable, "-m", "worker.cli", *map(str, PUSH)]
    mapped.simulator.faults.set([faults.MissingClientId()])
    try:
        with subprocess.Popen(
            command,
            cwd=mapped.folder,
            env=environment(mapped.settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as pushing:
            wait_for(lambda: len(mapped.simulator.log) > mapped.seen_before, "a request")
            pushing.send_signal(signal.SIGINT)
            _, told = pushing.communicate(timeout=within(60))
    finally:
        mapped.simulator.faults.clear()
    assert pushing.returncode == 130, told
    stopped = re.search(r"^Stopped\. (\d+ lines wait; they go on .*) See: (.*--push \S+)$", told, re.MULTILINE)
    assert stopped, told
    shown = mapped.run(*stopped[2].split()[1:])
    assert shown.stderr == f"{stopped[1]}\n"
    assert "…" in shown.stdout


def test_a_refused_client_id_is_told_to_the_operator(installation: Installation) -> None:
    """When ConnectWise refuses our clientId, the check names the setting, which is the operator's to correct."""
    installation.simulator.faults.set([faults.MissingClientId()])
    try:
        done = installation.connect(f"{KEY}\n")
    finally:
        installation.simulator.faults.clear()
    assert done.returncode == 1
    assert "check PHIN_CONNECTWISE_CLIENT_ID" in done.stderr


def test_mappings_survive_export_and_import(mapped: Installation) -> None:
    """`mapping export` writes what `mapping import` reads; the mappings are the same afterwards."""
    before = mapped.json("mapping", "list", "--partner", "msp-1")["mappings"]
    exported = mapped.run("mapping", "export", "--partner", "msp-1")
    written = mapped.run("mapping", "export", "--partner", "msp-1", "all.csv")
    assert written.stderr == "Written: all.csv, with 24 mappings of partner msp-1.\n"
    assert (mapped.folder / "all.csv").read_text("utf-8-sig") == exported.stdout
    done = mapped.run("mapping", "import", "--partner", "msp-1", "all.csv")
    assert done.stdout.splitlines()[-1] == "24 companies: 15 complete, 2 incomplete, 7 invalid"

    def kept(mappings: Any) -> Any:
        return [{name: one[name] for name in one if name not in {"changed_at", "check"}} for one in mappings]

    assert kept(mapped.json("mapping", "list", "--partner", "msp-1")["mappings"]) == kept(before)


def test_a_company_of_the_same_name_is_named_once(mapped: Installation) -> None:
    """A list of mappings has room for the agreement and the addition, where ConnectWise's company is called alike."""
    shown = mapped.run("mapping", "list", "--partner", "msp-1").stdout
    assert "Bluewater Dental          Managed Services > Phin" in shown
    assert shown.count("Bluewater Dental") == 1


def test_one_company_is_mapped_and_unmapped(mapped: Installation) -> None:
    """`mapping set` shows the records that it found, and needs a change; `mapping remove` unmaps, once it is sure."""
    ids = ("--cw-company", "2001", "--agreement", "401", "--addition", "7101")
    done = mapped.run("mapping", "set", "--partner", "msp-1", "--company", "c-101", *ids, "--minimum", "5")
    assert done.returncode == 0, done.stderr
    assert "✓  complete" in done.stdout
    unmap = ("mapping", "remove", "--partner", "msp-1", "--company", "c-101")
    for refused in (("mapping", "set", *unmap[2:]), ("mapping", "set", *unmap[2:], *ids[:2])):
        assert mapped.run(*refused).returncode == 2
    for typed in ("n\n", ""):
        declined = mapped.run(*unmap, typed=typed)
        assert declined.returncode == 1
        assert "No push bills Alder & Finch Architects (c-101) any more" in declined.stderr
        assert "Nothing was done. With --yes it is done without asking." in declined.stderr
    kept = mapped.json("mapping", "list", "--partner", "msp-1")["mappings"]
    assert {one["company_id"]: one["addition_id"] for one in kept}["c-101"] == 7101
    (unmapped,) = mapped.json(*unmap, "--yes")["mappings"]
    assert unmapped["company_name"] == "Alder & Finch Architects"
    assert (unmapped["addition_id"], unmapped["state"]) == (None, "incomplete")
    again = mapped.run(*unmap)
    assert (again.returncode, again.stderr) == (2, "The company c-101 is not mapped.\n")


def test_disconnecting_forgets_the_keys(mapped: Installation) -> None:
    """After `connection remove` the partner is listed as disconnected, and every line of a push fails with the fix."""
    assert mapped.run("connection", "remove", "--partner", "msp-1", "--yes").returncode == 0
    assert "disconnected" in mapped.run("connection", "list").stdout
    pushed = mapped.json(*PUSH)
    assert {line["problem"]["code"] for line in pushed["lines"]} == {"not_connected"}


def test_names_are_shown_as_they_are(mapped: Installation) -> None:
    """A company's name that looks like markup is shown literally."""
    counts = mapped.folder / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc-1,[red]Acme[/red] :smile:,1\n", "utf-8")
    done = mapped.run(*PUSH[:-1], counts)
    assert "[red]Acme[/red] :smile:" in done.stdout


def test_what_is_held_is_shown_confirmed_and_written(mapped: Installation) -> None:
    """`push` holds what is unusual, `--confirm` lets a company through as it was shown; of one not held it says so."""
    counts = mapped.folder / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc-101,Alder,90\nc-102,Bluewater,0\n", "utf-8")
    push = ("push", "--partner", "msp-1", "--period", "2026-11", "--counts", counts)
    held = mapped.run(*push)
    assert held.returncode == 1
    assert "18 → 90" in held.stdout
    assert "An unusually big change." in held.stdout
    assert "Held until confirmed: c-101 (Alder), c-102 (Bluewater). Push again with --confirm" in held.stderr
    assert mapped.writes == 0

    refused = mapped.run(*push, "--confirm", "c-103")
    assert refused.returncode == 2
    assert "not held for anything that can be confirmed: c-103" in " ".join(refused.stderr.replace("│", " ").split())
    shown = counts.read_text("utf-8")
    counts.write_text(shown.replace("90", "900"), "utf-8")
    another = mapped.run(*push, "--confirm", "c-101")
    assert (another.returncode, mapped.writes) == (1, 0)
    counts.write_text(shown, "utf-8")
    assert mapped.run(*push).returncode == 1
    one = mapped.run(*push, "--confirm", "c-101")
    assert (one.returncode, mapped.writes) == (1, 1)
    declined = mapped.run(*push, "--confirm", "all", typed="n\n")
    assert "Bluewater: 9 → 0. No users any more" in declined.stderr
    assert (declined.returncode, mapped.writes) == (1, 1)
    rest = mapped.run(*push, "--confirm", "all", "--yes")
    assert (rest.returncode, mapped.writes) == (0, 2), rest.stdout
