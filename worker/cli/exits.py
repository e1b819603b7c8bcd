"""Exit codes, and the messages that a user reads instead of a traceback for expected errors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from cwclient import ConnectWiseError
from messages import PublishError, Refused, Unroutable
from store import SchemaOutdated, StoreError
from worker.bootstrap import UnroutableMessage
from worker.cli.display.output import complain
from worker.cli.spreadsheet import SpreadsheetError
from worker.messaging.broker import BrokerUnavailable, TopologyMismatch
from worker.settings import SettingsError

UNFINISHED = 1
"""Finished with failed or held lines, with a failed check, or not within the time."""
USAGE = 2
BROKER = 3
DATABASE = 4
SETTINGS = 5
DRAIN_TIMED_OUT = 6
INTERRUPTED = 130


@contextmanager
def explain_errors() -> Iterator[None]:
    """End the program with the exit code and message of an expected error; others pass with their traceback."""
    try:
        yield
    except SettingsError as error:
        hint = "`phin-connectwise --help` names all settings; they come from the environment or `.env`."
        _end(SETTINGS, "These settings cannot work:", *error.problems, hint)
    except (SchemaOutdated, StoreError) as error:
        _end(DATABASE, f"Database: {error}")
    except (Unroutable, UnroutableMessage) as error:
        _end(BROKER, f"RabbitMQ: {error}", "Is the worker deployed? Run `phin-connectwise topology declare`.")
    except Refused as error:
        _end(BROKER, f"RabbitMQ refused: {error}", _sent(error), "Ask who runs RabbitMQ, then run the command again.")
    except PublishError as error:
        _end(BROKER, f"RabbitMQ: {error}", _sent(error), "Running the command again is safe.")
    except (BrokerUnavailable, TopologyMismatch) as error:
        _end(BROKER, str(error))
    except SpreadsheetError as error:
        _end(USAGE, *str(error).splitlines(), "Nothing was sent.")
    except (ConnectWiseError, OSError) as error:
        _end(USAGE, str(error))


def _sent(error: PublishError) -> str:
    return f"{len(error.confirmed)} of {len(error.confirmed) + len(error.unconfirmed)} messages were taken."


def _end(code: int, *lines: str) -> Never:
    for line in lines:
        complain(line)
    sys.exit(code)
