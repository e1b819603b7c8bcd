"""Commands whose usage error names all missing options at once, and groups of such commands."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command whose usage error names all required options and arguments that are missing, not only the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's Context, which typer hides
        """Parse the arguments; errors in them come before the names of missing ones."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            missing: list[Any] = [param for param in self.params if param.required and not _is_given(ctx, param)]
            if error.param in missing:
                error.param_hint = ", ".join(param.get_error_hint() for param in missing)
            raise


class Commands(typer.Typer):
    """A group whose commands have the class Command, unless they name another."""

    def command(self, *args: Any, **more: Any) -> Callable[[Function], Function]:  # noqa: ANN401 - as a Typer's
        """Add a command."""
        return super().command(*args, **{"cls": Command} | more)


def _is_given(ctx: Any, param: Any) -> bool:  # noqa: ANN401 - click's, which typer hides
    source = ctx.get_parameter_source(param.name)
    return source is not None and source.name == "COMMANDLINE"
