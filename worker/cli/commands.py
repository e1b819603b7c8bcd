"""Commands whose usage error names all missing options at once, and groups of such commands."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

Function = TypeVar("Function", bound=Callable[..., Any])


class _Argument(TyperArgument):
    """An argument whose help does not show the name of Python's type."""

    def display_type_rich(self, ctx: Any) -> str | None:  # noqa: ANN401, ARG002 - click's Context, which typer hides
        """Show no type beside the name."""
        return None


def _for_people(params: list[Any]) -> list[Any]:
    """The options and arguments, without types beside arguments and flags: a flag takes no value."""
    for param in params:
        if isinstance(param, TyperArgument):
            param.__class__ = _Argument
        elif param.is_flag and param.metavar is None:
            param.metavar = ""
    return params


class Group(TyperGroup):
    """A group of commands whose help is for people."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - click's Context, which typer hides
        """Return the options, as help shows them."""
        return _for_people(super().get_params(ctx))


class Command(TyperCommand):
    """A command whose usage error names all required options and arguments that are missing, not only the first."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - click's Context, which typer hides
        """Return the options and arguments, as help shows them."""
        return _for_people(super().get_params(ctx))

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
    """A group of the class Group whose commands have the class Command, unless they name another."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - as a Typer's
        super().__init__(**{"cls": Group} | more)

    def command(self, *args: Any, **more: Any) -> Callable[[Function], Function]:  # noqa: ANN401 - as a Typer's
        """Add a command."""
        return super().command(*args, **{"cls": Command} | more)


def _is_given(ctx: Any, param: Any) -> bool:  # noqa: ANN401 - click's, which typer hides
    source = ctx.get_parameter_source(param.name)
    return source is not None and source.name == "COMMANDLINE"
