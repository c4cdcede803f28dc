"""The dashboard, the alert rules and docs/operations.md name metrics that the service has."""

import re
from importlib import import_module

import promql_parser
import pytest
from httpx import AsyncClient

from songbook.metrics.instruments import INSTRUMENTS, Counter, Gauge, Histogram, Instrument
from tests.support.paths import ROOT
from tests.support.promql import ALERTS, DASHBOARD, expressions, labels_in, selectors

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
EXPRESSIONS = expressions()
TARGET = {"job", "instance"}
"""The labels that Prometheus itself adds."""

KINDS: dict[type[Instrument], str] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


def instruments() -> dict[str, Instrument]:
    """Return the metrics of the service by name."""
    for module in ("app.main", "songbook.server"):
        import_module(module)
    return INSTRUMENTS


def series() -> dict[str, set[str]]:
    """Return the labels of all time series by their names."""
    found = {"up": TARGET}
    for name, instrument in instruments().items():
        labels = {*instrument.labels, *TARGET}
        if isinstance(instrument, Histogram):
            found |= {f"{name}_sum": labels, f"{name}_count": labels}
            found[f"{name}_bucket"] = {*labels, "le"}
        else:
            found[name] = labels
    return found


async def test_the_service_exposes_what_is_counted(client: AsyncClient) -> None:
    known = set(instruments())
    exposed = (await client.get("/metrics")).text
    assert set(re.findall(r"^# TYPE (\S+) ", exposed, re.MULTILINE)) == known


async def test_the_commands_that_watch_the_service_succeed_in_development(
    client: AsyncClient,
) -> None:
    paths = re.findall(r"^    curl -sf http://localhost:8004(/\w+)$", OPERATIONS, re.MULTILINE)
    assert [(await client.get(path)).status_code for path in paths] == [200, 200, 200]


def test_no_label_is_one_that_prometheus_adds() -> None:
    """It would be renamed, as `exported_job`."""
    clashes = {name: each.labels for name, each in instruments().items() if TARGET & {*each.labels}}
    assert clashes == {}


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_are_there(
    place: str,
) -> None:
    known = series()
    used = selectors(EXPRESSIONS[place])
    for selected in used:
        assert selected.name in known
        assert selected.labels <= known[selected.name]
    everything = {label for selected in used for label in known[selected.name]}
    assert grouped(EXPRESSIONS[place]) <= everything


def grouped(expression: str) -> set[str]:
    """Return the labels by which an expression groups."""
    return {
        label
        for labels in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", expression)
        for label in labels.split(", ")
    }


def test_a_legend_has_only_labels_that_its_expression_keeps() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            assert labels_in(target["legendFormat"]) <= grouped(target["expr"]) | {"le"}


def test_an_annotation_has_only_labels_that_its_expression_keeps() -> None:
    for rule in ALERTS:
        kept = grouped(rule["expr"]) or TARGET
        assert labels_in(" ".join(rule["annotations"].values())) <= kept


def test_rates_are_summed_and_never_the_rate_of_a_sum() -> None:
    """A counter that begins again after a restart would be hidden in the sum of all."""
    for expression in EXPRESSIONS.values():
        assert not re.search(r"(rate|increase)\((sum|max|min)", expression)
        assert promql_parser.parse(expression)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_leads_to_a_section_that_says_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    name, annotations = rule["alert"], rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/operations.md#{str(name).lower()}"
    [section] = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", OPERATIONS, re.DOTALL | re.MULTILINE)
    assert re.search(r"^- Look(:| and do:)", section, re.MULTILINE)
    assert re.search(r"^- (Do|Look and do):", section, re.MULTILINE)


def test_every_section_of_an_alert_is_of_one_that_is_there() -> None:
    assert re.findall(r"^### (Songbook\w+)", OPERATIONS, re.MULTILINE) == [
        rule["alert"] for rule in ALERTS
    ]


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        x, y, width, height = (panel["gridPos"][key] for key in "xywh")
        cells = {(a, b) for a in range(x, x + width) for b in range(y, y + height)}
        assert x + width <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_document_lists_all_metrics_as_the_code_describes_them() -> None:
    rows = {
        f"| `{name}` | {KINDS[type(each)]} | {', '.join(f'`{label}`' for label in each.labels)}"
        f" | {each.help} |"
        for name, each in instruments().items()
    }
    [table] = re.findall(r"^### The metrics$(.*?)^##", OPERATIONS, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"^\| `.*$", table, re.MULTILINE)) == rows
