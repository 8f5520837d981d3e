"""The manifests of Kubernetes, against the code, the image and the compose file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from command_api.settings import CommandSettings
from console.settings import ConsoleSettings
from ops.compose.issue import LEDGER, NEEDS
from query_api.settings import QuerySettings
from shared.process.settings import ListeningSettings
from shared.web.serving.server import ANSWERED_WITHIN_S
from tests.support.deployed_processes import (
    MODULES,
    PROCESSES,
    WITH_SECRETS,
    deployed_settings,
    each_process,
)
from web.settings import WebSettings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# The oldest and the newest release of Kubernetes whose schemas the manifests are held to.
KUBERNETES_RELEASES = ("1.31", "1.37")

APIS = ("command-api", "query-api")
# By their port and the settings that have its default.
SERVING: dict[str, type[ListeningSettings]] = {
    "command-api": CommandSettings,
    "query-api": QuerySettings,
    "web": WebSettings,
    "console": ConsoleSettings,
}

Manifest = dict[str, Any]


def _manifests() -> Iterator[Manifest]:
    for file in sorted(KUBERNETES.glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text())


MANIFESTS = list(_manifests())
KUSTOMIZATION = next(one for one in MANIFESTS if one["kind"] == "Kustomization")
OBJECTS = [one for one in MANIFESTS if one["kind"] != "Kustomization"]


def _find(kind: str, name: str) -> Manifest:
    (found,) = (one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def _workload(process: str) -> Manifest:
    if process == "schema":
        return _find("Job", f"schema-{VERSION.replace('.', '-')}")
    return _find("Deployment", process)


def _pod(process: str) -> Manifest:
    pod: Manifest = _workload(process)["spec"]["template"]["spec"]
    return pod


def _container(process: str) -> Manifest:
    (container,) = _pod(process)["containers"]
    found: Manifest = container
    return found


@pytest.mark.parametrize("release", KUBERNETES_RELEASES)
def test_kubernetes_accepts_every_manifest(release: str) -> None:
    for manifest in OBJECTS:
        kubernetes_validate.validate(manifest, release, strict=True)
    assert set(KUSTOMIZATION["resources"]) == {
        file.name for file in KUBERNETES.glob("*.yaml") if file.name != "kustomization.yaml"
    }


def test_image_and_migration_carry_the_release() -> None:
    """A Job cannot be changed, so that each release needs its own."""
    assert [one["newTag"] for one in KUSTOMIZATION["images"]] == [VERSION]
    assert {_container(process)["image"] for process in PROCESSES} == {"starfold"}
    assert [one["metadata"]["name"] for one in OBJECTS if one["kind"] == "Job"] == [
        _workload("schema")["metadata"]["name"]
    ]


@each_process
def test_a_pod_has_every_setting_and_no_unknown_one(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its Secret as `python -m ops.compose.init secrets` issues it."""
    environment = {}
    for entry in _container(process).get("env", []):
        source = entry.get("valueFrom", {})
        if "secretKeyRef" in source:
            assert source["secretKeyRef"]["optional"] is True
            environment[entry["name"]] = ""
        elif source:
            environment[entry["name"]] = _config()[source["configMapKeyRef"]["key"]]
        else:
            environment[entry["name"]] = entry["value"]
    secrets = [one["secret"]["secretName"] for one in _pod(process)["volumes"] if "secret" in one]
    assert secrets == ([f"starfold-{process}"] if process in WITH_SECRETS else [])
    settings = deployed_settings(process, environment, tmp_path, monkeypatch)
    if process in SERVING:
        assert settings[0].model_dump()["host"] == "0.0.0.0"


def _config() -> dict[str, str]:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated["name"] == "starfold"
    return dict(literal.split("=", 1) for literal in generated["literals"])


def _mounts(process: str) -> list[Manifest]:
    mounts: list[Manifest] = _container(process)["volumeMounts"]
    return mounts


def test_ports_and_probes_are_those_of_the_processes() -> None:
    for process, kind in SERVING.items():
        container = _container(process)
        assert [one["containerPort"] for one in container["ports"]] == [
            kind.model_fields["port"].default
        ]
        for probe, path in (
            ("startupProbe", "/health"),
            ("livenessProbe", "/health"),
            ("readinessProbe", "/ready"),
        ):
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}
            if process in APIS:
                operations = (ROOT / MODULES[process] / "http/operations.py").read_text()
                assert f'"GET",\n        "{path}",' in operations
    projector = _container("projector")
    for container, setting in (
        (projector, "STARFOLD_METRICS_PORT"),
        (_container("worker"), "STARFOLD_WORKER_METRICS_PORT"),
    ):
        variables = {one["name"]: one.get("value") for one in container["env"]}
        ports = [(one["name"], str(one["containerPort"])) for one in container["ports"]]
        assert ports == [("metrics", variables[setting])]
        assert variables["STARFOLD_METRICS_HOST"] == "0.0.0.0"
    for probe in ("startupProbe", "livenessProbe"):
        assert projector[probe]["httpGet"] == {"path": "/metrics", "port": "metrics"}
        (_, _, script) = _container("worker")[probe]["exec"]["command"]
        assert script == COMPOSE["worker"]["healthcheck"]["test"][1]
    assert {"name": "STARFOLD_HEARTBEAT_FILE", "value": "/tmp/worker.heartbeat"} in _container(
        "worker"
    )["env"]


def test_each_service_leads_to_its_pods() -> None:
    for process in (*SERVING, "projector"):
        service = _find("Service", process)["spec"]
        labels = _workload(process)["spec"]["template"]["metadata"]["labels"]
        assert service["selector"] == labels
        (port,) = service["ports"]
        (container_port,) = _container(process)["ports"]
        assert port["targetPort"] == container_port["name"]
        assert port["port"] == container_port["containerPort"]


@each_process
def test_a_pod_is_confined_like_a_container_of_the_compose_file(process: str) -> None:
    pod, container = _pod(process), _container(process)
    user = int(re.findall(r"--uid (\d+) ", (ROOT / "Dockerfile").read_text())[0])
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "STARFOLD_PORT would be a Service's address"
    assert pod["shareProcessNamespace"] is True, "a signal during the start is lost without it"
    limit = COMPOSE["init" if process == "schema" else process]["mem_limit"]
    mebibytes = {"1g": "1Gi", "2g": "2Gi", "512m": "512Mi"}[re.sub(r"\$\{.*:-(.*)\}", r"\1", limit)]
    assert container["resources"]["limits"] == {"memory": mebibytes}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    started = [*container.get("command", []), *container.get("args", [])]
    assert started[:3] == ["python", "-m", MODULES[process]]
    mounted = {mount["mountPath"] for mount in _mounts(process)}
    own = {str(LEDGER.parent)} if process == "command-api" else set()
    settings = {"/etc/starfold"} if process in WITH_SECRETS else set()
    assert mounted == {"/tmp"} | settings | own
    read_only = {one["mountPath"] for one in _mounts(process) if one.get("readOnly")}
    assert read_only == settings


def test_apis_scale_and_survive_the_drain_of_a_node() -> None:
    for process in (*SERVING, "projector"):
        budget = _find("PodDisruptionBudget", process)["spec"]
        assert budget["selector"] == _workload(process)["spec"]["selector"]
        assert budget["maxUnavailable"] == 1
        spread = _pod(process)["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in spread} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
    assert _workload("projector")["spec"]["replicas"] == 2
    for process in (*APIS, "web"):
        assert "replicas" not in _workload(process)["spec"], "it would undo the autoscaler's number"
        scaler = _find("HorizontalPodAutoscaler", process)["spec"]
        assert scaler["scaleTargetRef"]["name"] == process
        assert scaler["minReplicas"] >= 2


def test_a_pod_reaches_the_servers_that_it_has_settings_for() -> None:
    policies = [one["spec"] for one in OBJECTS if one["kind"] == "NetworkPolicy"]
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert everything in policies, "what is not allowed is denied"
    for port, settings in (
        (5432, {"DATABASE_URL", "OWNER_DATABASE_URL"}),
        (6379, {"REDIS_URL", "JOBS_REDIS_URL"}),
    ):
        (policy,) = (
            one for one in policies if {"port": port, "protocol": "TCP"} in _ports(one, "egress")
        )
        (labels,) = policy["podSelector"]["matchExpressions"]
        assert set(labels["values"]) == {
            process for process in WITH_SECRETS if settings & set(NEEDS[process][1])
        }
    listening = {
        name
        for one in policies
        if _ports(one, "ingress")
        for name in (
            [one["podSelector"]["matchLabels"]["app.kubernetes.io/component"]]
            if "matchLabels" in one["podSelector"]
            else one["podSelector"]["matchExpressions"][0]["values"]
        )
    }
    assert listening == {*SERVING, "projector", "worker"}


def test_the_pages_reach_the_apis_and_nothing_else() -> None:
    """The console reaches the servers too; nobody but its operators' proxy reaches the console."""
    policies = {one["metadata"]["name"]: one["spec"] for one in OBJECTS if _is_policy(one)}
    out, into = policies["calls-of-pages"], policies["calls-from-pages"]
    for spec, rule, peer in ((out, out["egress"], "to"), (into, into["ingress"], "from")):
        own, other = (("web", "console"), APIS) if peer == "to" else (APIS, ("web", "console"))
        assert _components(spec["podSelector"]) == set(own)
        ((selected,),) = (one[peer] for one in rule)
        assert _components(selected["podSelector"]) == set(other)
    of_web = {name for name, one in policies.items() if "web" in _components(one["podSelector"])}
    assert of_web == {"calls-of-pages", "clients"}
    of_console = {
        name for name, one in policies.items() if "console" in _components(one["podSelector"])
    }
    assert of_console == {"calls-of-pages", "operators", "postgres", "redis"}


def _is_policy(one: Manifest) -> bool:
    return bool(one["kind"] == "NetworkPolicy")


def _components(selector: Manifest) -> set[str]:
    labels = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    return {*labels.values(), *(value for one in expressions for value in one["values"])}


def test_the_pages_are_asked_nothing_more_before_they_stop() -> None:
    """They have no drain of their own: Kubernetes waits before it sends SIGTERM."""
    pod = _pod("web")
    pause_s = _container("web")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause_s + ANSWERED_WITHIN_S


def _ports(policy: Manifest, direction: str) -> list[Manifest]:
    return [port for rule in policy.get(direction, []) for port in rule["ports"]]


@pytest.mark.parametrize("process", APIS)
def test_an_api_drains_and_answers_its_last_requests_before_it_is_killed(process: str) -> None:
    pod = _pod(process)
    environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    drain_s = float(environment["STARFOLD_DRAIN_S"])
    assert drain_s > 0
    assert pod["terminationGracePeriodSeconds"] > drain_s + ANSWERED_WITHIN_S


def test_the_documented_commands_name_every_secret_and_the_migration() -> None:
    operating = (ROOT / "docs/operating.md").read_text()
    assert f"for process in {' '.join(WITH_SECRETS)}; do" in operating
    assert f"job/{_workload('schema')['metadata']['name']}" in operating


def test_no_file_of_a_deployment_holds_a_secret() -> None:
    assert [one for one in OBJECTS if one["kind"] == "Secret"] == []
    secret = re.compile(r"(?<![\w/])[A-Za-z0-9+/_-]{43}=?(?![\w/])|://[^\s/@]*:[^\s/@]+@|password=")
    for file in (one for one in (ROOT / "deploy").rglob("*") if one.is_file()):
        assert secret.findall(file.read_text()) == [], file.name
