"""The list of commands is read without them: it must say what they say."""

import subprocess
import sys
from importlib import import_module
from inspect import cleandoc

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


def test_help_loads_no_database_and_no_models() -> None:
    """Whoever asks for help waits for none of the packages that commands need."""
    program = (
        "import sys; from worker.cli import main; sys.argv[1:] = ['--help']\ntry: main()\nexcept SystemExit: pass\n"
    )
    heavy = "print([name for name in ('sqlalchemy', 'pydantic', 'requests', 'pika') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program + heavy], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
