"""Prometheus's own tool takes the alerts and the metrics."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from tests.support.docs import ROOT
from tests.support.waiting import within
from worker import metrics

FOLDER = ROOT / "deploy" / "prometheus"
UNPACKED = ROOT / ".promtool" / "usr" / "bin"
MISSING = "promtool is missing: make promtool (Debian, Ubuntu), or see https://prometheus.io/download"


def _promtool(*arguments: str, given: bytes = b"") -> str:
    """Run it; what it says if that is not all well."""
    program = shutil.which("promtool") or shutil.which("promtool", path=str(UNPACKED))
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    done = subprocess.run([program, *arguments], input=given, capture_output=True, timeout=within(60), check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(("what", "file"), [("check", "alerts.yaml"), ("test", "alerts_test.yaml")])
def test_prometheus_takes_the_alerts_and_their_cases_hold(what: str, file: str) -> None:
    """An operator who loads the alerts is woken in the cases that are written down, and not in the others."""
    assert _promtool(what, "rules", str(FOLDER / file)) == ""


def test_the_metrics_are_named_as_prometheus_wants(tmp_path: Path) -> None:
    """Prometheus's linter has nothing to say about a worker's own metrics."""
    assert _promtool("check", "metrics", given=generate_latest(metrics.REGISTRY)) == ""
