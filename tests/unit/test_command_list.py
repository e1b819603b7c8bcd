"""The list of commands is read without them: it must say what they say."""

import subprocess
import sys
from importlib import import_module
from inspect import cleandoc

import pytest
from typer import Typer

from worker.cli.command_list import COMMANDS
from worker.setting_names import MEANINGS
from worker.settings import Settings


def test_summaries_are_those_of_the_commands() -> None:
    """A command's line in the list is the first line of its help."""
    for name, command in COMMANDS.items():
        described = getattr(import_module(command.module), command.attribute)
        if not isinstance(described, Typer):
            assert cleandoc(described.__doc__).split("\n\n")[0].replace("\n", " ") == command.summary, name


def test_every_setting_is_named() -> None:
    """Help names each setting, in the order of the settings."""
    assert list(MEANINGS) == list(Settings.model_fields)


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        ("--help", {"sqlalchemy", "pydantic", "structlog", "requests", "pika", "kombu", "alembic"}),
        ("status", {"requests", "pika", "kombu", "alembic", "rapidfuzz", "python_calamine", "uvicorn"}),
    ],
)
def test_commands_load_what_they_need(command: str, unneeded: set[str]) -> None:
    """Whoever asks for help, or reads a table, does not wait for packages that write, call or serve."""
    program = (
        "import sys; from worker.cli import main; sys.argv[1:] = sys.argv[1:2]\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program, command], capture_output=True, text=True, check=True)
    assert "worker.cli" in shown.stdout.split()
    assert not unneeded & set(shown.stdout.split())
