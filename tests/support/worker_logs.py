"""The report of a failed test shows the end of its workers' logs, which are gone with its folder."""

from collections.abc import Generator

import pytest

SHOWN = 20_000
"""Characters of each log."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs to the report."""
    report = yield
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and folder is not None:
        for path in sorted(folder.glob("worker-*.log")):
            report.sections.append((path.name, path.read_text("utf-8", "replace")[-SHOWN:]))
    return report
