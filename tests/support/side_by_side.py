"""Tests are spread over several processes by `pytest -n auto`, which `make test` calls."""

import gc
import os
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.servers import POSTGRESQL, RABBITMQ

TOGETHER = {
    "tests/e2e/test_store_away.py": "own servers",
    "tests/integration/test_consuming.py": "own servers",
}
"""Files that run in one process, so that servers which are started once a process are started once for all of them."""

LONGEST_FIRST = (
    "tests/e2e/test_outages.py",
    "own servers",
    "tests/web/test_portal_access.py",
    "tests/web/test_portal_flow.py",
    "tests/web/test_console_flow.py",
    "tests/web/test_console",
    "tests/web/test_portal",
    "tests/e2e/test_readme.py",
    "tests/e2e/test_revert.py",
    "tests/e2e/test_replay.py",
    "tests/e2e/test_coordinator.py",
    "tests/e2e/test_kill.py",
    "tests/e2e/test_api_version.py",
    "tests/e2e/test_",
    "tests/integration/test_tls.py",
    "tests/integration/test_libreoffice.py",
    "tests/web/",
    "tests/contract/",
    "tests/integration/",
    "tests/unit/",
)
"""The order in which files run, by how their paths begin: a long file that begins late is waited for.

`pytest --durations=0` measures them.
"""


def group(nodeid: str) -> str:
    """The name of what one process runs in one go: a file, or those of TOGETHER."""
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # ships no types
    """A process that is idle takes the next group."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def _turn(item: pytest.Item) -> int:
    name = group(item.nodeid)
    return next((turn for turn, begin in enumerate(LONGEST_FIRST) if name.startswith(begin)), len(LONGEST_FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three processes a core: many tests wait for something most of their time."""
    return 3 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Iterable[Any]) -> None:
    """Start the servers that all processes share, if they are to run in containers."""
    stack = ExitStack()
    config.add_cleanup(stack.close)
    for server in (RABBITMQ, POSTGRESQL):
        url = server.contained(stack)
        if url is not None:
            os.environ[server.variable] = url


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give out groups in the order of the tests."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """Let the garbage collector not look at what stays: all modules and tests."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests if they are spread; in one process they stay as they are."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)
