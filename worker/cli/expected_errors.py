"""The messages that a user reads instead of a traceback. Loaded by the first error: it needs every package."""

from cwclient import ConnectWiseError
from messages import PublishError, Refused, Unroutable
from store import SchemaInUse, SchemaOutdated, StoreError
from worker.bootstrap import UnroutableMessage
from worker.cli.exits import BROKER, DATABASE, SETTINGS, USAGE
from worker.messaging.broker import BrokerUnavailable, TopologyMismatch
from worker.settings import SettingsError
from worker.spreadsheet import SpreadsheetError


def explanation(error: Exception) -> tuple[int, list[str]] | None:
    """Return the exit code and the lines to print; None = the error is not expected."""
    match error:
        case SettingsError():
            hint = "`phin-connectwise --help` names all settings; they come from the environment or `.env`."
            return SETTINGS, ["These settings cannot work:", *error.problems, hint]
        case SchemaInUse() | SchemaOutdated() | StoreError():
            return DATABASE, [f"Database: {error}"]
        case Unroutable() | UnroutableMessage():
            deployed = "Is the worker deployed? Run `phin-connectwise topology declare`."
            return BROKER, [f"RabbitMQ: {error}", deployed]
        case Refused():
            again = "Ask who runs RabbitMQ, then run the command again."
            return BROKER, [f"RabbitMQ refused: {error}", _sent(error), again]
        case PublishError():
            return BROKER, [f"RabbitMQ: {error}", _sent(error), "Running the command again is safe."]
        case BrokerUnavailable() | TopologyMismatch():
            return BROKER, [str(error)]
        case SpreadsheetError():
            return USAGE, [*str(error).splitlines(), "Nothing was sent."]
        case ConnectWiseError() | OSError():
            return USAGE, [str(error)]
    return None


def _sent(error: PublishError) -> str:
    return f"{len(error.confirmed)} of {len(error.confirmed) + len(error.unconfirmed)} messages were taken."
