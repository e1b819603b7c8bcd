"""A group with an implied command, which runs if none is named: `push …` pushes, `push cancel …` cancels a push."""

from typing import Any

import typer

from worker.cli.commands import Command, Group

IMPLIED = "implied"
"""The name of the implied command, which is never typed."""


class ImpliedGroup(Group):
    """A group that has a hidden command IMPLIED of the class ImpliedCommand, and others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's Context, which typer hides
        """Give arguments that name no command to the implied one."""
        known = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if known else [IMPLIED, *args])


class _Unnamed(typer.Context):
    @property
    def command_path(self) -> str:
        """The words to type for this command: those of the group alone."""
        return self.parent.command_path if self.parent else ""


class ImpliedCommand(Command):
    """The command that runs if none is named."""

    context_class = _Unnamed
