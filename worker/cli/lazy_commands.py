"""Commands that are imported when they are named: the program's help, and each command, load only what they need."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from worker.cli.commands import Commands, Group

MARKUP: Final = "markdown"


@dataclass(frozen=True)
class LazyCommand:
    """A command, or a group of commands, which `attribute` of the module is.

    `summary`: the help of a group, or the first line of a command's; `panel`: its heading in the list of commands.
    """

    module: str
    attribute: str
    panel: str
    summary: str

    def stand_in(self, name: str) -> TyperCommand:
        """Return what the list of commands shows."""
        return TyperCommand(name, help=self.summary, rich_help_panel=self.panel, rich_markup_mode=MARKUP)

    def load(self, name: str) -> Any:  # noqa: ANN401 - click's Command, which typer hides
        """Import the command and return it."""
        loaded = getattr(import_module(self.module), self.attribute)
        # Modules stay as long as the process: no search for garbage goes through them again.
        gc.freeze()
        gc.enable()
        group = Commands(rich_markup_mode=MARKUP)
        group.callback()(_before)
        if isinstance(loaded, typer.Typer):
            group.add_typer(loaded, name=name, help=self.summary)
        else:
            group.command(name)(loaded)
        return typer.main.get_group(group).commands[name]


def _before() -> None:
    """Make the one command a command of a group."""


def lazy_group(commands: Mapping[str, LazyCommand]) -> type[TyperGroup]:
    """Return a class of group that has these commands, in this order."""

    class LazyGroup(Group):
        def __init__(self, **given: Any) -> None:  # noqa: ANN401 - as a TyperGroup's
            super().__init__(**given)
            self.commands = {name: command.stand_in(name) for name, command in commands.items()}

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - click's types, which typer hides
            """Return the name, command and arguments. Raises typer's usage error if there is no such command."""
            name, _, rest = super().resolve_command(ctx, args)
            return name, name and commands[name].load(name), rest

    return LazyGroup
