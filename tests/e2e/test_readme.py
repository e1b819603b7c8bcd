"""The commands of README.md and the guides run as they stand, in the order in which they are read."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support import forked_program
from tests.support.commands import environment
from tests.support.docs import ROOT, RUN, blocks
from tests.support.forked import FORK_SERVER
from tests.support.waiting import within
from worker.setting_names import PREFIX

TEXTS = [block.text for page in RUN for block in blocks(page) if block.is_run]
LINES = [line for text in TEXTS for line in text.splitlines() if line.strip()]

# What a reader takes from the output of the commands before: the id of a push, and that of a dead letter.
TAKEN = {
    "$PUSH": "PUSH=$(phin-connectwise push --partner msp-1 --period 2026-11 --counts counts.csv --json 2>/dev/null |"
    ' python -c \'import json, sys; print(json.load(sys.stdin)["push"]["push_id"])\')',
    "$LETTER": "LETTER=$(python dead_letter.py)",
}
DEAD_LETTER = """
from store import Database, dead_letters
from messages import KeyRing
from worker.messaging.broker import Delivery
from worker.messaging.dead_letters import DeadLetters

letter = DeadLetters(KeyRing({})).of(
    Delivery("push.requested.v1", "connectwise.push-requested.v1", b"{", {"message_id": "m"}, redelivered=False),
    "contract", "no JSON",
)
database = Database("sqlite:///phin-connectwise.db")
with database.begin() as tx:
    dead_letters.add(tx, letter)
print(letter.id[:8])
"""


def script() -> str:
    """All lines as one shell reads them; behind each its exit code is noted."""
    taken = dict(TAKEN)
    done = []
    for line in LINES:
        done += [taken.pop(name) for name in list(taken) if name in line]
        done += [line, 'printf "%s\\n" "$?" >> codes']
    # Behind the first line, which puts the installed programs there.
    done.insert(2, 'PATH="$PWD/forked:$PATH"')
    return "\n".join([*done, "kill $(jobs -p)", "wait"])


def _put_program(folder: Path) -> None:
    """`phin-connectwise` in a folder, as a program that starts quickly."""
    folder.mkdir()
    program = folder / "phin-connectwise"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S '{forked_program.__file__}' \"$@\"\n")
    program.chmod(0o755)


def test_the_pages_teach_every_command_that_a_coordinator_needs() -> None:
    """The blocks are there, so that the next test runs something."""
    taught = "\n".join(LINES)
    for command in ("keys generate", "connection set", "mapping import", "push", "status", "revert", "dead-letters"):
        assert f"phin-connectwise {command}" in taught


def test_the_commands_run_as_they_stand(tmp_path: Path) -> None:
    """In a folder with a clone's files each ends with 0, or with 1 where lines of the sample fail by intent."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "worker").symlink_to(ROOT / "worker")
    (tmp_path / "dead_letter.py").write_text(DEAD_LETTER, "utf-8")
    _put_program(tmp_path / "forked")
    control = FORK_SERVER.control.fileno()
    kept = {name: value for name, value in environment({}).items() if not name.startswith(PREFIX)}
    with subprocess.Popen(
        ["bash", "-c", script()],
        cwd=tmp_path,
        env=kept | {"FORK_SERVER": str(control)},
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as shell:
        try:
            stdout, stderr = shell.communicate(timeout=within(600))
        finally:
            # What the shell has put in the background, if it did not come to its end.
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    codes = (tmp_path / "codes").read_text().split()
    ended = dict(zip(LINES, codes, strict=True))
    assert {line: code for line, code in ended.items() if code not in {"0", "1"}} == {}, stderr
    assert "Traceback" not in stderr
    assert "Usage:" not in stderr
    assert "12 updated" in stdout
    assert "Discarded 1." in stdout
