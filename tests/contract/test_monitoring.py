"""The dashboard, the alert rules and Prometheus's own file name what exists, as promtool checks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.contract.test_observing import OBSERVING, metrics

ROOT = Path(__file__).parents[2]
FILES = ROOT / "ops/monitoring"
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
(GROUP,) = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
PROMETHEUS = yaml.safe_load((FILES / "prometheus.yml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
RULES: list[dict[str, Any]] = GROUP["rules"]
TARGETS: list[dict[str, Any]] = [
    target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
]
EXPRESSIONS = [*(one["expr"] for one in RULES), *(one["expr"] for one in TARGETS)]
JOBS = [one["job_name"] for one in PROMETHEUS["scrape_configs"]]

# The client library's own, and Prometheus's.
OTHERS = {
    "up",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
}
DURATION = r"(\d+(ms|[smhdwy]))+"


def _parsed(expression: str) -> promql_parser.Expr:
    # Grafana replaces its variables before Prometheus sees them.
    return promql_parser.parse(expression.replace("$__rate_interval", "1m"))


def _selectors(expression: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(_parsed(expression), visit)
    return found


def _grouping(expression: str) -> Iterator[str]:
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        yield from re.findall(r"\w+", labels)


def _series() -> dict[str, set[str]]:
    """The series of each metric with their labels, without Prometheus's own."""
    labels = {
        name: set(re.findall(r"\w+", listed))
        for name, listed in re.findall(
            r"^\| `(starfold_\w+)(?:\{(.*)\})?`", OBSERVING, re.MULTILINE
        )
    }
    series: dict[str, set[str]] = {name: set() for name in OTHERS}
    for name, one in metrics().items():
        if one.type == "histogram":
            series |= {f"{name}_{part}": labels[name] for part in ("sum", "count")}
            series[f"{name}_bucket"] = {*labels[name], "le"}
        else:
            series[name] = labels[name]
    return series


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_series_and_labels_that_exist(expression: str) -> None:
    selectors, series = _selectors(expression), _series()
    assert selectors
    labels = {"job", "instance"}
    for one in selectors:
        assert one.name in series
        asked = {matcher.name for matcher in one.matchers.matchers}
        assert asked <= {*series[one.name], "job", "instance"}, expression
        labels |= series[one.name]
        jobs = [matcher for matcher in one.matchers.matchers if matcher.name == "job"]
        assert {name for matcher in jobs for name in matcher.value.split("|")} <= set(JOBS)
    assert set(_grouping(expression)) <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_is_complete_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]+)*", rule["alert"])
    assert re.fullmatch(DURATION, rule.get("for", "0s"))
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert rule["annotations"].keys() == {"summary", "runbook"}
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = set(_grouping(rule["expr"])) - {"le"}
    labels = _series() | {"up": {"job", "instance"}}
    own = {label for one in _selectors(rule["expr"]) for label in labels[one.name or ""]}
    assert named <= (kept or {*own, "job", "instance"}), "a label that an aggregation drops"
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert f"\n#### {rule['alert']}\n" in (ROOT / page).read_text()


def test_the_alerts_have_different_names_and_no_other_has_a_heading() -> None:
    names = [one["alert"] for one in RULES]
    assert len(set(names)) == len(names)
    operating = (ROOT / "docs/operating.md").read_text()
    alerts = operating[operating.index("### Alerts") :]
    assert re.findall(r"^#### (.+)$", alerts, re.MULTILINE) == names


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    cells = [
        (column, line)
        for place in (one["gridPos"] for one in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24


def test_prometheus_reads_every_process_at_the_port_that_compose_gives_it() -> None:
    assert PROMETHEUS.keys() == {"global", "rule_files", "scrape_configs"}
    mounted = {one["target"]: one["source"] for one in COMPOSE["services"]["prometheus"]["configs"]}
    assert [COMPOSE["configs"][mounted[one]]["file"] for one in PROMETHEUS["rule_files"]] == [
        "ops/monitoring/alerts.yml"
    ]
    ports = {"command-api": 8080, "query-api": 8081, "projector": 9090, "worker": 9091}
    for one in PROMETHEUS["scrape_configs"]:
        (found,) = one["dns_sd_configs"]
        assert found == {
            "names": [one["job_name"]],
            "type": "A",
            "port": ports.pop(one["job_name"]),
        }
        service = COMPOSE["services"][one["job_name"]]
        assert "monitoring" in service["networks"]
        if one["job_name"].endswith("api"):
            token = "/etc/starfold/metrics-token"
            assert one["authorization"] == {"credentials_file": token}
            assert service["healthcheck"]["test"][2] == str(found["port"])
        else:
            assert str(found["port"]) in service["environment"].values()
            assert service["environment"]["STARFOLD_METRICS_HOST"] == "0.0.0.0"
    assert ports == {}


def test_what_compose_mounts_for_monitoring_exists_and_starts_with_its_profile_alone() -> None:
    for config in COMPOSE["configs"].values():
        assert (ROOT / config["file"]).is_file()
    profiles = {name: one.get("profiles") for name, one in COMPOSE["services"].items()}
    assert {name for name, own in profiles.items() if own == ["monitoring"]} == {
        "prometheus",
        "grafana",
    }
    datasource = yaml.safe_load((FILES / "grafana-datasource.yml").read_text())["datasources"][0]
    (provider,) = yaml.safe_load((FILES / "grafana-dashboards.yml").read_text())["providers"]
    used = {one["datasource"]["uid"] for one in DASHBOARD["panels"] if "targets" in one}
    assert used == {datasource["uid"]}
    grafana = {one["target"] for one in COMPOSE["services"]["grafana"]["configs"]}
    assert f"{provider['options']['path']}/dashboard.json" in grafana
