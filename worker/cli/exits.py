"""Exit codes, and the end of a command by an expected error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from worker.cli.display.output import complain

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
    except Exception as error:
        from worker.cli.expected_errors import explanation

        if (explained := explanation(error)) is None:
            raise
        code, lines = explained
        for line in lines:
            complain(line)
        sys.exit(code)
