"""The dashboard of deploy/grafana shows what a worker serves."""

import json
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from tests.support.docs import ROOT
from tests.support.metric_names import labels, series

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
OF_PROMETHEUS = {"job", "instance"}
VARIABLES = {"$job": ".*", "$__rate_interval": "5m", "$__range": "1h"}


def _parsed(expression: str) -> promql_parser.Expr:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return promql_parser.parse(expression)


def _named(expression: str) -> tuple[set[str], set[str]]:
    """(names of series, names of labels) in an expression."""
    names, used = set[str](), set[str]()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(str(node.name))
            used.update(matcher.name for matcher in node.matchers.matchers)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            used.update(node.modifier.labels)
        return True

    promql_parser.walk(_parsed(expression), visit)
    return names, used


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_panel_asks_for_what_there_is(expression: str, tmp_path: Path) -> None:
    """No panel stays empty because a metric or a label was renamed."""
    names, used = _named(expression)
    assert names
    assert names <= series(tmp_path)
    assert used <= labels(tmp_path, names) | OF_PROMETHEUS


def test_every_panel_says_what_it_shows() -> None:
    """Whoever reads a figure knows what it is, and its unit; panels do not lie on each other."""
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_of_ours_is_on_the_dashboard(tmp_path: Path) -> None:
    """Nothing that is measured has to be looked for elsewhere."""
    shown = {name for expression in EXPRESSIONS for name in _named(expression)[0]}
    ours = {name for name in series(tmp_path) if not name.startswith("process_")}
    families = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in shown}
    assert {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in ours} <= families
