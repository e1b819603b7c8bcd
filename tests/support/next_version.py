"""The program of the next release: this one, with one more migration, in a folder of its own."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from store.migrate import newest_revision
from tests.support.docs import ROOT
from tests.support.waiting import within

PACKAGES = ("messages", "cwclient", "store", "worker")
MIGRATION = '''"""{name}: a migration that only a test has."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    """Apply."""
    {body}
'''

ADDS = """op.create_table("next_things", sa.Column("thing_id", sa.String(36), primary_key=True))
    op.add_column("mappings", sa.Column("next_note", sa.Text(), nullable=True))
    op.create_index("ix_mappings_next_note", "mappings", ["next_note"])"""
"""A migration with a letter may do this."""

BREAKS = """op.add_column("pauses", sa.Column("next_reason", sa.Text(), nullable=False))"""
"""It may not do this: a program that does not know the column cannot pause any more."""


def with_letter(revision: str) -> str:
    """The revision after this one that only adds."""
    number, letter = revision[:4], revision[4:]
    return f"{number}{chr(ord(letter) + 1) if letter else 'a'}"


def with_number(revision: str) -> str:
    """The revision after this one that no older program works with."""
    return f"{int(revision[:4]) + 1:04}"


def next_program(folder: Path, revision: str, body: str) -> "Program":
    """The program of the next release, which needs tables of this revision."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    add_migration(folder / "store" / "migrations" / "versions", revision, body)
    return Program(folder)


def add_migration(versions: Path, revision: str, body: str) -> None:
    """Put a migration behind the newest one."""
    text = MIGRATION.format(name=revision, revision=revision, before=newest_revision(), body=body)
    (versions / f"{revision}_next.py").write_text(text, encoding="utf-8")


class Program:
    """The program whose packages are in this folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "worker.cli", *arguments],
            cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", timeout=within(60), check=False,
        )  # fmt: skip

    def start_worker(self, log: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start a worker that logs into this file."""
        with log.open("ab") as stderr:
            command = [sys.executable, "-m", "worker.cli", "worker"]
            return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=stderr)
