"""A coordinator sees by commands why pushes wait, Sync Status, and what is held."""

import re

from tests.support.installation import PUSH, Installation


def test_a_push_that_waits_says_who_paused_it(mapped: Installation) -> None:
    """While an operator's pause lasts the push, and `status`, say who made it and why; the open lines are told once.

    After it `resume` and `health` say how many lines wait, and what carries them out.
    """
    assert mapped.run("pause", "--partner", "msp-1", "--why", "they upgrade", "--by", "olga").returncode == 0
    pushed = mapped.run(*PUSH, "--timeout", "5")
    assert pushed.returncode == 1
    assert "Paused by olga since 20" in pushed.stderr
    assert "they upgrade. It goes on after `phin-connectwise resume --partner msp-1`." in pushed.stderr
    for shown in (pushed.stdout, mapped.run(*told_to_see(pushed.stderr)).stdout):
        told = " ".join(shown.split())
        assert "… 25 companies wait. Paused by olga since 20" in told
        assert shown.count("they upgrade") == 1
        assert "Alder" not in shown
    assert mapped.writes == 0
    resumed = mapped.run("resume", "--partner", "msp-1")
    goes_on = '25 lines wait; they go on with "phin-connectwise worker" or the next push.'
    assert (resumed.returncode, resumed.stdout) == (0, f"Partner msp-1 is resumed. {goes_on}\n")
    health = mapped.run("health")
    assert health.returncode == 0
    shown = " ".join(health.stdout.split())
    assert re.search(r"\? lines 25 lines due, the oldest for \d+ s; `phin-connectwise worker` or the next push", shown)
    mapped.run(*PUSH)
    assert "lines due" not in mapped.run("health").stdout


def told_to_see(text: str) -> list[str]:
    """The command that a push names, by which it is seen."""
    found = re.search(r"see it at any time with `phin-connectwise (.*?)`", text)
    assert found, text
    return found[1].split()


def test_status_shows_period_day_and_id_and_a_row_can_be_put_away(mapped: Installation) -> None:
    """Sync Status has a table for each period and day, with ids; one that is gone is put away until there is news."""
    counts = mapped.folder / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc-101,Alder,21\nc-102,Bluewater,11\n", "utf-8")
    push = (*PUSH[:4], "2026-11", "--counts", counts)
    status = ("status", "--partner", "msp-1")
    dismiss = ("status", "dismiss", "--partner", "msp-1", "--company", "c-102")
    assert mapped.run(*dismiss).returncode == 2
    assert mapped.run(*push).returncode == 0
    shown = mapped.run(*status).stdout
    assert re.search(r"^Period 2026-11, pushed \d{4}-\d\d-\d\d$", shown, re.MULTILINE)
    assert "Alder (c-101)" in shown
    done = mapped.run(*dismiss)
    assert (done.returncode, done.stdout) == (0, "Dismissed: c-102.\n")
    assert "It is mapped still" in done.stderr
    assert [line["company_id"] for line in mapped.json(*status)["lines"]] == ["c-101"]
    assert mapped.run(*push).returncode == 0
    assert [line["company_id"] for line in mapped.json(*status)["lines"]] == ["c-101", "c-102"]


def test_a_held_company_is_confirmed_by_its_name(mapped: Installation) -> None:
    """`--confirm` takes a name that only one company has; of one that several have it lists the ids."""
    counts = mapped.folder / "counts.csv"
    rows = ["c-101,Alder,90", "c-102,Quill,0", "c-103,Quill,0"]
    counts.write_text("\n".join(["company_id,company_name,billable_users", *rows, ""]), "utf-8")
    push = (*PUSH[:4], "2026-11", "--counts", counts)
    assert mapped.run(*push).returncode == 1
    several = mapped.run(*push, "--confirm", "Quill")
    assert several.returncode == 2
    assert "several companies are called 'Quill'; give the id: c-102, c-103" in " ".join(
        several.stderr.replace("│", " ").split()
    )
    asked = mapped.run(*push, "--confirm", "all")
    assert asked.returncode == 1
    assert asked.stderr.endswith("Nothing was done. With --yes it is done without asking.\n")
    assert mapped.json(*push, "--confirm", "alder")["counts"] == {"updated": 1, "held": 2}
