"""The command line `phin-connectwise`: it runs the worker, and does in a terminal what the portal does."""

import gc
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated

import typer

from worker.cli.command_list import COMMANDS
from worker.cli.commands import Commands
from worker.cli.display.output import complain, say
from worker.cli.exits import explain_errors
from worker.cli.lazy_commands import MARKUP, lazy_group
from worker.setting_names import MEANINGS, PREFIX

HELP = """Push Phin's billable users into ConnectWise agreement additions.

Try it with no server at all: `phin-connectwise demo`.

Your own data, without RabbitMQ:

1. `phin-connectwise keys generate`, and set PHIN_CONNECTWISE_SEAL_KEYS and PHIN_CONNECTWISE_CLIENT_ID

2. `phin-connectwise db upgrade`

3. `phin-connectwise connection set --partner msp-1 --site URL --company-identifier ID --public-key KEY`

4. `phin-connectwise mapping import --partner msp-1 mappings.csv`

5. `phin-connectwise push --partner msp-1 --period 2026-11 --counts counts.csv --preview`, then without --preview
"""

EXIT_CODES = """Exit codes: 0 ok · 1 finished with failed or held lines, or not in time · 2 usage · 3 RabbitMQ ·
4 database · 5 settings · 6 the worker could not finish in time"""


def _settings() -> str:
    shown = [f"* {PREFIX}{name.upper()}: {meaning}" for name, meaning in MEANINGS.items()]
    return "Settings, from the environment or `.env`, each also as …_FILE:\n\n" + "\n".join(shown)


app = Commands(
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    help=HELP,
    epilog=f"{_settings()}\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - a callback of typer's
    if asked:
        from importlib.metadata import version

        say(f"phin-connectwise {version('phin-connectwise')}")
        raise typer.Exit


@app.callback()
def _before(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    from worker.settings import SettingsError, unknown_variables

    # The code that loads the settings reports it if `.env` cannot be read.
    with suppress(SettingsError):
        for name in unknown_variables():
            complain(f"{name} is no setting, so it is ignored; `phin-connectwise --help` names all settings.")


def main() -> None:
    """Run the command line. It ends the process with one of EXIT_CODES."""
    # A tenth of a command's start is spent on looking for garbage among what it imports; the loaded command enables it.
    gc.disable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal whose encoding has no ✓ shows a ?, instead of ending the command.
            stream.reconfigure(errors="replace")
    with explain_errors():
        app(prog_name="phin-connectwise")
