"""The alerts of deploy/prometheus: each can fire, can stay quiet, and leads to what is to be done."""

from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.support.docs import ROOT, anchors
from tests.support.metric_names import series

FOLDER = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"] for rule in group["rules"]
]
CASES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text("utf-8"))["tests"]
NAMES = [rule["alert"] for rule in RULES]
OF_OTHERS = {"up", "rabbitmq_detailed_queue_messages_ready"}
"""Metrics of Prometheus itself, and of RabbitMQ."""


def _metrics(expression: promql_parser.Expr) -> set[str]:
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)
        return True

    promql_parser.walk(expression, visit)
    return found


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_says_what_it_means_and_leads_to_the_runbook(rule: dict[str, Any]) -> None:
    """Whoever is woken reads what it is, what it means for invoices, and finds the page with what to do."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    notes = rule["annotations"]
    assert notes["summary"]
    assert notes["description"]
    page, _, anchor = notes["runbook_url"].partition("#")
    assert anchor in anchors(ROOT / page)
    assert anchor == rule["alert"].lower()


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_asks_for_metrics_that_there_are(rule: dict[str, Any], tmp_path: Path) -> None:
    """No alert is silent for ever because a metric was renamed."""
    named = _metrics(promql_parser.parse(rule["expr"]))
    assert named
    assert named <= series(tmp_path) | OF_OTHERS


@pytest.mark.parametrize("alert", NAMES)
def test_an_alert_has_a_case_that_fires_and_one_that_stays_quiet(alert: str) -> None:
    """The threshold of each alert was tried from both sides."""
    cases = [case for case in CASES if case["name"].partition(":")[0] == alert]
    fires = [f'alertname="{alert}"' in str(case["promql_expr_test"]) for case in cases]
    assert set(fires) == {True, False}


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    """A section that no alert leads to misleads."""
    sections = {name for name in anchors(ROOT / "docs" / "runbook.md") if name.startswith("phinconnectwise")}
    assert sections == {name.lower() for name in NAMES}
