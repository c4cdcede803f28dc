"""The expressions of the dashboard and of the alert rules, and what they name."""

import json
import re
from typing import Any, NamedTuple

import promql_parser
import yaml  # type: ignore[import-untyped] # the stubs would be for few files

from tests.support.paths import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/songbook.json").read_text())
ALERTS_FILE = ROOT / "deploy" / "prometheus" / "alerts.yml"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS_FILE.read_text())["groups"] for rule in group["rules"]
]

VARIABLES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
"""Values of Grafana's variables."""


class Selector(NamedTuple):
    """What an expression selects: a metric, and the labels that it compares."""

    name: str
    labels: set[str]


def expressions() -> dict[str, str]:
    """Return all expressions by where they are, with values for Grafana's variables."""
    written = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    }
    written |= {each["name"]: each["expr"] for each in DASHBOARD["annotations"]["list"]}
    for name, value in VARIABLES.items():
        written = {place: text.replace(name, value) for place, text in written.items()}
    return written | {rule["alert"]: rule["expr"] for rule in ALERTS}


def selectors(expression: str) -> list[Selector]:
    """Return what an expression selects."""
    found: list[Selector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name
            found.append(Selector(node.name, {each.name for each in node.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def labels_in(template: str) -> set[str]:
    """Return the labels in a legend or in an annotation."""
    return set(re.findall(r"{{ *(?:\$labels\.)?(\w+) *}}", template))
