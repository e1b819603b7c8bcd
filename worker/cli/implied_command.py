"""A group of commands of which one is meant where none is named: `push …` pushes, `push cancel …` stops that."""

from typing import Any

import typer
from typer.core import TyperGroup

from worker.cli.commands import Command

IMPLIED = "implied"
"""The name of the command that nobody types."""


class ImpliedGroup(TyperGroup):
    """Has a hidden command IMPLIED of the class Implied, and others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's Context, which typer hides
        """Take what names no command for the options of the implied one."""
        known = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if known else [IMPLIED, *args])


class _Unnamed(typer.Context):
    @property
    def command_path(self) -> str:
        """The words that are typed to come here: those of the group alone."""
        return self.parent.command_path if self.parent else ""


class ImpliedCommand(Command):
    """The command that is meant where none is named."""

    context_class = _Unnamed
