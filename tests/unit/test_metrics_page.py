"""docs/metrics.md is what a worker serves."""

import re
from pathlib import Path

from tests.support.docs import ROOT
from tests.support.metric_names import families


def test_the_page_has_every_metric_with_its_type(tmp_path: Path) -> None:
    """Whoever builds a dashboard finds each metric by the name that Prometheus stores, and none that is gone."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    described = dict(re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", page, re.MULTILINE))
    served = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in families(tmp_path)
        if not family.name.startswith("process_")
    }
    assert described == served
