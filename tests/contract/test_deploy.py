"""The files of a deployment, against the code, the image and the compose file that they follow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from command_api.settings import CommandSettings
from ops.compose.init import SchemaSettings
from ops.compose.issue import LEDGER, NEEDS, IssueSettings, SecretsHome, issue_secrets
from ops.settings import JobsSettings
from projector.settings import ProjectorSettings
from query_api.settings import QuerySettings
from shared.process.settings import Settings, settings_from_environment

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
SYSTEMD = ROOT / "deploy/systemd"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# The oldest and the newest release of Kubernetes whose schemas the manifests are held to.
KUBERNETES_RELEASES = ("1.31", "1.37")

PROCESSES: dict[str, list[type[Settings]]] = {
    "schema": [SchemaSettings],
    "command-api": [CommandSettings],
    "query-api": [QuerySettings],
    "projector": [ProjectorSettings],
    "worker": [JobsSettings, ProjectorSettings],
}
MODULES = {
    "command-api": "command_api",
    "query-api": "query_api",
    "projector": "projector",
    "worker": "ops.worker",
    "schema": "ops.compose.init",
}
APIS = ("command-api", "query-api")

Manifest = dict[str, Any]

each_process = pytest.mark.parametrize("process", PROCESSES)


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
    secret, *_ = (one["secret"] for one in _pod(process)["volumes"] if "secret" in one)
    assert secret["secretName"] == f"starfold-{process}"
    assert {"name": "settings", "mountPath": "/etc/starfold", "readOnly": True} in _mounts(process)
    settings = _settings(process, environment, tmp_path, monkeypatch)
    if process in APIS:
        assert settings[0].model_dump()["host"] == "0.0.0.0"


def _config() -> dict[str, str]:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated["name"] == "starfold"
    return dict(literal.split("=", 1) for literal in generated["literals"])


def _mounts(process: str) -> list[Manifest]:
    mounts: list[Manifest] = _container(process)["volumeMounts"]
    return mounts


def _settings(
    process: str, environment: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Settings]:
    """Read a process's settings from its environment and what it is issued."""
    kinds = PROCESSES[process]
    fields = {f"STARFOLD_{name.upper()}" for kind in kinds for name in kind.model_fields}
    assert {name for name in environment if name.startswith("STARFOLD_")} <= fields
    issued = {f"STARFOLD_{name}" for _, names in NEEDS.values() for name in names}
    secret = issued - {"STARFOLD_ERASURE_LEDGER"} | {"STARFOLD_METRICS_TOKEN"}
    assert {name for name, value in environment.items() if value} & secret == set()
    home = SecretsHome(folder / "home", IssueSettings())
    home.create()
    issue_secrets(home, folder / "issued")
    lines = (folder / "issued" / process / "environment").read_text().splitlines()
    for name in list(os.environ):
        if name.startswith("STARFOLD_"):
            monkeypatch.delenv(name)
    for name, value in {**dict(line.split("=", 1) for line in lines), **environment}.items():
        folders = {LEDGER.parent, Path("/run/starfold-worker")}
        exists = Path(value).parent not in folders
        monkeypatch.setenv(name, value if exists else str(folder / Path(value).name))
    return [settings_from_environment(kind) for kind in kinds]


def test_ports_and_probes_are_those_of_the_processes() -> None:
    for process, kind in (("command-api", CommandSettings), ("query-api", QuerySettings)):
        container = _container(process)
        assert [one["containerPort"] for one in container["ports"]] == [
            kind.model_fields["port"].default
        ]
        operations = (ROOT / MODULES[process] / "http/operations.py").read_text()
        for probe, path in (
            ("startupProbe", "/health"),
            ("livenessProbe", "/health"),
            ("readinessProbe", "/ready"),
        ):
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}
            assert f'"GET",\n        "{path}",' in operations
    projector = _container("projector")
    variables = {one["name"]: one.get("value") for one in projector["env"]}
    assert [str(one["containerPort"]) for one in projector["ports"]] == [
        variables["STARFOLD_METRICS_PORT"]
    ]
    for probe in ("startupProbe", "livenessProbe"):
        assert projector[probe]["httpGet"] == {"path": "/metrics", "port": "metrics"}
        (_, _, script) = _container("worker")[probe]["exec"]["command"]
        assert script == COMPOSE["worker"]["healthcheck"]["test"][1]
    assert {"name": "STARFOLD_HEARTBEAT_FILE", "value": "/tmp/worker.heartbeat"} in _container(
        "worker"
    )["env"]


def test_each_service_leads_to_its_pods() -> None:
    for process in (*APIS, "projector"):
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
    assert mounted == {"/etc/starfold", "/tmp"} | own


def test_apis_scale_and_survive_the_drain_of_a_node() -> None:
    for process in (*APIS, "projector"):
        budget = _find("PodDisruptionBudget", process)["spec"]
        assert budget["selector"] == _workload(process)["spec"]["selector"]
        assert budget["maxUnavailable"] == 1
        spread = _pod(process)["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in spread} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
    assert _workload("projector")["spec"]["replicas"] == 2
    for process in APIS:
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
            process for process in PROCESSES if settings & set(NEEDS[process][1])
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
    assert listening == {*APIS, "projector"}


def _ports(policy: Manifest, direction: str) -> list[Manifest]:
    return [port for rule in policy.get(direction, []) for port in rule["ports"]]


def test_the_documented_commands_name_every_secret_and_the_migration() -> None:
    operating = (ROOT / "docs/operating.md").read_text()
    assert f"for process in {' '.join(PROCESSES)}; do" in operating
    assert f"job/{_workload('schema')['metadata']['name']}" in operating


def test_no_file_of_a_deployment_holds_a_secret() -> None:
    assert [one for one in OBJECTS if one["kind"] == "Secret"] == []
    secret = re.compile(r"(?<![\w/])[A-Za-z0-9+/_-]{43}=?(?![\w/])|://[^\s/@]*:[^\s/@]+@|password=")
    for file in (one for one in (ROOT / "deploy").rglob("*") if one.is_file()):
        assert secret.findall(file.read_text()) == [], file.name


# systemd


def _unit(file: Path) -> dict[str, list[tuple[str, str]]]:
    """Parse a unit by systemd's rules; fail at a line that it would ignore."""
    sections: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in file.read_text().splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            sections.setdefault(section, [])
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"{file.name}: {line}"
            assert re.fullmatch(r"[A-Z][A-Za-z]+", name), f"{file.name}: {line}"
            sections[section].append((name, value))
    assert sections.keys() <= {"Unit", "Service", "Install"}
    return sections


UNITS = {process: SYSTEMD / f"starfold-{process}.service" for process in PROCESSES}
CONFINED = SYSTEMD / "starfold-.service.d/confined.conf"


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    """By its own check where that is installed, and everywhere by the rules of its syntax."""
    files = [*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.target")]
    assert set(UNITS.values()) | {SYSTEMD / "starfold.target"} == set(files)
    for file in (*files, CONFINED):
        assert _unit(file)
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        units = tmp_path / "units"
        shutil.copytree(SYSTEMD, units)
        for file in units.glob("*.service"):
            text = file.read_text().replace("/opt/starfold/bin/python", sys.executable)
            file.write_text(text)
        checked = subprocess.run(
            [
                analyze,
                "verify",
                "--man=no",
                *map(str, units.glob("*.service")),
                str(units / "starfold.target"),
            ],
            env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert (checked.returncode, checked.stderr) == (0, "")


@each_process
def test_a_unit_has_every_setting_and_no_unknown_one(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = _unit(UNITS[process])["Service"]
    environment = dict(
        value.split("=", 1)
        for name, value in service
        if name == "Environment" and value.startswith("STARFOLD_")
    )
    assert ("LoadCredential", f"environment:/etc/starfold/{process}/environment") in service
    (started,) = (value for name, value in service if name == "ExecStart")
    assert f" -m {MODULES[process]}" in started
    _settings(process, environment, tmp_path, monkeypatch)
    names = dict(service)
    for folder in ("StateDirectory", "RuntimeDirectory"):
        for path in environment.values():
            if folder in names and path.startswith("/"):
                root = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run"}[folder]
                assert str(Path(path).parent) == f"{root}/{names[folder]}"


def test_every_unit_is_confined() -> None:
    confined = _unit(CONFINED)["Service"]
    for name, value in {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateDevices": "yes",
        "PrivateTmp": "yes",
        "MemoryDenyWriteExecute": "yes",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "SystemCallFilter": "@system-service",
    }.items():
        assert (name, value) in confined
    relaxed = {name for name, _ in confined} - {"Environment"}
    for file in UNITS.values():
        service = _unit(file)["Service"]
        assert {name for name, _ in service} & relaxed == set()
        assert "MemoryMax" in dict(service)


def test_the_target_starts_and_stops_the_services_that_are_enabled() -> None:
    for process in set(PROCESSES) - {"schema"}:
        unit = _unit(UNITS[process])
        assert ("WantedBy", "starfold.target") in unit["Install"]
        assert ("PartOf", "starfold.target") in unit["Unit"]
    assert ("WantedBy", "multi-user.target") in _unit(SYSTEMD / "starfold.target")["Install"]


def test_a_service_reads_its_credential(tmp_path: Path) -> None:
    """As systemd passes it: in the folder that `CREDENTIALS_DIRECTORY` names."""
    (tmp_path / "environment").write_text("STARFOLD_A=of the credential\n")
    ran = subprocess.run(
        [sys.executable, "-m", "ops.compose.issued", "sh", "-c", 'echo "$STARFOLD_A"'],
        env={"CREDENTIALS_DIRECTORY": str(tmp_path), "PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("of the credential\n", "")


# Workflows

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda one: one.stem)
def test_each_action_is_pinned_by_its_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", one), one


def test_a_release_has_images_for_both_processors_with_their_origin() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    steps = release["jobs"]["image"]["steps"]
    (build,) = (one["with"] for one in steps if "build-push-action" in one.get("uses", ""))
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert build["sbom"] is True
    assert build["provenance"] == "mode=max"
    assert build["push"] is True
