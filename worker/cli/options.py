"""Options that several commands share, and usage errors for invalid values."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from messages.events import CaBundle
from messages.values import Id
from worker.cli.display.output import complain
from worker.cli.exits import UNFINISHED
from worker.validation_words import in_words

_AGO = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Id)
_CA_BUNDLE: TypeAdapter[str] = TypeAdapter(CaBundle)


def identifier(value: str | None) -> str | None:
    """Refuse an id that the contract refuses, naming the option."""
    if value is not None:
        try:
            _IDENTIFIER.validate_python(value)
        except ValidationError as error:
            raise typer.BadParameter(in_words(*error.errors(include_url=False, include_input=False)[:1])) from None
    return value


def csv_file(value: Path | None) -> Path | None:
    """Refuse a file name whose suffix makes spreadsheet programs expect a workbook."""
    if value is not None and value.suffix.lower() in {".xlsx", ".xlsm", ".xls", ".ods"}:
        raise typer.BadParameter(
            f"CSV is written, which opens under {value.with_suffix('.csv')}, not under {value.name}"
        )
    return value


def ca_bundle(file: Path | None) -> str | None:
    """The certificates in the file of `--ca-file`, as the contract requires them. Raises typer.BadParameter."""
    if file is None:
        return None
    try:
        content = file.read_bytes()
        found = _CA_BUNDLE.validate_python(content.decode())
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except ssl.SSLError:
        why = "has a certificate that is damaged"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        why = "is no PEM text"
    except ValidationError as error:
        why = in_words(*error.errors(include_url=False, include_input=False)[:1])
    else:
        return found
    fix = "give the certificate of the authority that issued the server's, in PEM (-----BEGIN CERTIFICATE-----)"
    raise typer.BadParameter(f"{file} {why}; {fix}", param_hint="--ca-file")


def user() -> str:
    """The user of the system, the default of --by."""
    try:
        return getuser()
    except (KeyError, OSError):
        return "command line"


Partner = Annotated[str, typer.Option("--partner", metavar="ID", help="The partner's id in Phin.", callback=identifier)]
Company = Annotated[
    str,
    typer.Option("--company", metavar="COMPANY", help="The company's id in Phin, or its name.", callback=identifier),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, to standard output.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return as soon as it is sent.")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, metavar="SECONDS", help="Wait at most so long.")]


CsvFile = Annotated[
    Path,
    typer.Argument(dir_okay=False, allow_dash=True, help="The CSV file, - = standard output.", callback=csv_file),
]
CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="Own certificate authority of the server, PEM."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
By = Annotated[
    str,
    typer.Option(
        "--by", metavar="NAME", help="Who does it.", default_factory=user, show_default="the user of the system"
    ),
]


def agree(question: str, *, yes: bool) -> None:
    """Ask before something stops billing, or is billed as it is. Ends the program (exit code 1) without a yes."""
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        complain("Nothing was done. With --yes it is done without asking.")
        raise typer.Exit(UNFINISHED)


@contextmanager
def usage(option: str | None = None) -> Iterator[None]:
    """Turn errors of values into usage errors (exit code 2); `option` is the option to name."""
    try:
        yield
    except ValidationError as error:
        one = error.errors(include_url=False, include_input=False)[0]
        where = f"{'.'.join(str(part) for part in one['loc'])}: " if one["loc"] else ""
        raise typer.BadParameter(f"{where}{in_words(one)}", param_hint=option) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def time_of(text: str | None, option: str) -> datetime | timedelta | None:
    """The time that a text like 2026-11-22T10:00 (UTC) means, or how long ago, like 2h.

    Raises typer.BadParameter for `option`.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return int(ago[1]) * _UNITS[ago[2]]
        given = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        problem = f"{text!r} is no time; write 2026-11-22T10:00 (UTC), or 30m, 2h or 3d for so long ago"
        raise typer.BadParameter(problem, param_hint=option) from None
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given
