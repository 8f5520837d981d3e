"""The rules of the compose file, which is not run here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.compose.issue import (
    CLUSTER_CONTAINERS,
    CONTAINERS,
    NEEDS,
    IssueSettings,
    SecretsHome,
    issue_secrets,
)
from shared.process.cluster_address import cluster_address

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVERS: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.servers.yml").read_text())
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text())
OPERATING = (ROOT / "docs/operating.md").read_text()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = [f"cluster-{number}" for number in range(1, 7)]
# They end by themselves.
STEPS = {"secrets", "init", "first-steps", "operator"}
# Volumes beside a container's own settings or secrets.
MOUNTED = {
    "secrets": {"secrets"},
    "postgres": {"postgres-data"},
    "redis": {"redis-data"},
    "command-api": {"ledger"},
    "first-steps": {"operator"},
    "operator": {"operator", "ledger"},
    "prometheus": {"prometheus-data"},
    "grafana": {"grafana-data"},
}
# The declared volumes of the images, of all versions that are supported.
IMAGE_VOLUMES = {
    "postgres": {"/var/lib/postgresql", "/var/lib/postgresql/data"},
    "redis": {"/data"},
    "prometheus": {"/prometheus"},
}
NETWORKS = {
    "postgres": {"log"},
    "redis": {"read-models"},
    "init": {"log"},
    "command-api": {"log", "api", "pages", "monitoring"},
    "projector": {"log", "read-models", "monitoring"},
    "query-api": {"read-models", "api", "pages", "monitoring"},
    "web": {"pages"},
    "console": {"log", "read-models", "pages", "monitoring"},
    "first-steps": {"log", "api"},
    "worker": {"log", "read-models", "monitoring"},
    "operator": {"log", "api"},
    "prometheus": {"monitoring"},
    "grafana": {"monitoring"},
}

each_service = pytest.mark.parametrize("service", SERVICES)


@each_service
def test_a_service_is_confined_and_bounded(service: str) -> None:
    one = SERVICES[service]
    assert one["init"] is True, "a signal during the start is lost without an init process"
    assert one["ulimits"]["nofile"]["soft"] >= 16_384
    assert one["mem_limit"]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["logging"]["options"]["max-size"]


@each_service
def test_a_service_says_whether_it_is_healthy_or_ends(service: str) -> None:
    health = SERVICES[service]["healthcheck"]
    if service in STEPS:
        assert health == {"disable": True}
        assert SERVICES[service]["restart"] == "no"
    else:
        assert health["test"]
        assert health["start_interval"] == "1s"
        assert not any("python" in str(word) for word in health["test"]), "costs a tenth of a core"
        assert SERVICES[service]["restart"] == "unless-stopped"


@each_service
def test_a_service_mounts_what_it_needs_and_no_more(service: str) -> None:
    volumes = [mount.split(":") for mount in SERVICES[service].get("volumes", [])]
    named = {name for name, *_ in volumes}
    own = {f"{_issued(service)}-{'settings' if _issued(service) in NEEDS else 'secrets'}"}
    if service == "web":
        own = set()
        assert SERVICES[service]["entrypoint"] == ["python", "-m", "web"], "nothing is issued"
    if service == "secrets":
        containers = set(CONTAINERS) - set(CLUSTER_CONTAINERS)
        own = {f"{one}-{'settings' if one in NEEDS else 'secrets'}" for one in containers}
    assert named == own | MOUNTED.get(service, set())
    assert named <= set(COMPOSE["volumes"]), "each has a name"
    for name, *rest in volumes:
        if name in own and service != "secrets":
            assert rest == ["/etc/starfold", "ro"]


@each_service
def test_no_volume_of_an_image_becomes_an_anonymous_one(service: str) -> None:
    one = SERVICES[service]
    volumes = {mount.split(":")[1] for mount in one.get("volumes", [])}
    mounted = volumes | set(one.get("tmpfs", []))
    assert mounted >= IMAGE_VOLUMES.get(service, set())


@each_service
def test_a_service_reaches_only_its_servers(service: str) -> None:
    if service == "secrets":
        assert SERVICES[service]["network_mode"] == "none"
    else:
        assert set(SERVICES[service]["networks"]) == NETWORKS[service]


def test_every_port_on_the_host_can_be_changed_and_the_servers_have_none() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published == {
        "command-api": ["127.0.0.1:${STARFOLD_COMMAND_PORT:-8080}:8080"],
        "query-api": ["127.0.0.1:${STARFOLD_QUERY_PORT:-8081}:8081"],
        "web": ["127.0.0.1:${STARFOLD_WEB_PORT:-8082}:8082"],
        "console": ["127.0.0.1:${STARFOLD_CONSOLE_PORT:-8083}:8083"],
        "prometheus": ["127.0.0.1:${STARFOLD_PROMETHEUS_PORT:-9090}:9090"],
        "grafana": ["127.0.0.1:${STARFOLD_GRAFANA_PORT:-3000}:3000"],
    }
    assert {name: one["ports"] for name, one in SERVERS["services"].items()} == {
        "postgres": ["127.0.0.1:${STARFOLD_POSTGRES_PORT:-5432}:5432"],
        "redis": ["127.0.0.1:${STARFOLD_REDIS_PORT:-6379}:6379"],
    }


def test_the_apis_trust_the_addresses_of_the_pages_and_no_others() -> None:
    """The addresses are fixed, outside the range from which the others are given."""
    network = "${STARFOLD_PAGES_NETWORK:-172.31.251}"
    (pages,) = COMPOSE["networks"]["pages"]["ipam"]["config"]
    assert pages == {"subnet": f"{network}.0/24", "ip_range": f"{network}.128/25"}
    fixed = [SERVICES[one]["networks"]["pages"]["ipv4_address"] for one in ("web", "console")]
    assert fixed == [f"{network}.11", f"{network}.12"]
    for api in ("command-api", "query-api"):
        trusted = SERVICES[api]["environment"]["STARFOLD_TRUSTED_PROXIES"]
        assert trusted.split(",") == ["${STARFOLD_TRUSTED_PROXIES:-}", *fixed]


def test_postgres_keeps_its_data_in_one_folder_whatever_the_version() -> None:
    """The default of the image of 18, which releases before this one have used."""
    assert SERVICES["postgres"]["environment"]["PGDATA"] == "/var/lib/postgresql/18/docker"


def test_only_up_and_build_build_an_image() -> None:
    building = {name: one["pull_policy"] for name, one in SERVICES.items() if "build" in one}
    assert building == {"secrets": "missing"}
    own = [one for one in SERVICES.values() if "STARFOLD_IMAGE" in one["image"]]
    assert {one["pull_policy"] for one in own} == {"missing", "never"}


def test_the_image_is_named_after_the_release() -> None:
    """So that `up` after an update builds a new one, instead of starting the old one's programs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    services = [*SERVICES.values(), CLUSTER["services"]["cluster"]]
    images = {one["image"] for one in services if "STARFOLD_IMAGE" in one["image"]}
    assert images == {f"${{STARFOLD_IMAGE:-starfold:{project['version']}}}"}


def test_the_nodes_of_the_cluster_are_confined_like_redis_and_keep_their_data() -> None:
    """Each inherits everything from `redis` but its image, address and volumes."""
    services = CLUSTER["services"]
    assert [name for name in services if re.fullmatch(r"cluster-\d", name)] == NODES
    addresses = set()
    for name in NODES:
        node = services[name]
        assert node["extends"] == {"file": "docker-compose.yml", "service": "redis"}
        assert node.keys() == {"extends", "image", "networks", "volumes"}
        assert node["volumes"] == ["cluster-node-secrets:/etc/starfold:ro", f"{name}-data:/data"]
        assert set(node["networks"]) == {"cluster"}
        addresses.add(node["networks"]["cluster"]["ipv4_address"])
    assert len(addresses) == len(NODES), "a node knows the others by address, also after a restart"
    (subnet,) = CLUSTER["networks"]["cluster"]["ipam"]["config"]
    assert {one.rpartition(".")[0] for one in addresses} == {subnet["subnet"].rpartition(".")[0]}


def test_the_step_that_makes_the_cluster_is_a_step_like_the_others() -> None:
    step, other = CLUSTER["services"]["cluster"], SERVICES["init"]
    own = {"entrypoint", "networks", "volumes", "depends_on"}
    assert {name: one for name, one in step.items() if name not in own} == {
        name: one
        for name, one in other.items()
        if name not in own | {"environment", "stop_grace_period"}
    }
    assert step["depends_on"] == {node: {"condition": "service_healthy"} for node in NODES}
    for name in ("projector", "query-api", "worker", "console"):
        waits = CLUSTER["services"][name]["depends_on"]
        assert waits == {"cluster": {"condition": "service_completed_successfully"}}
        assert CLUSTER["services"][name]["networks"] == ["cluster"]


def test_with_the_cluster_file_the_services_are_issued_its_address(tmp_path: Path) -> None:
    """The jobs stay on one server, and nodes and step get the volumes that they are issued."""
    secrets = CLUSTER["services"]["secrets"]
    servers = IssueSettings(redis=secrets["environment"]["STARFOLD_REDIS"])
    home = SecretsHome(tmp_path / "secrets", servers)
    home.create()
    issue_secrets(home, tmp_path / "issued")
    for service in ("projector", "query-api", "worker", "console", "cluster"):
        lines = (tmp_path / "issued" / service / "environment").read_text().splitlines()
        issued = dict(line.split("=", 1) for line in lines)
        address = cluster_address(issued["STARFOLD_REDIS_URL"])
        assert address is not None
        assert address.nodes == tuple((node, 6379) for node in NODES)
        if "STARFOLD_JOBS_REDIS_URL" in issued:
            assert issued["STARFOLD_JOBS_REDIS_URL"].endswith("@redis:6379/1")
    mounted = {mount.rpartition("/")[2] for mount in secrets["volumes"]}
    assert mounted == set(CLUSTER_CONTAINERS)
    assert all((tmp_path / "issued" / one).is_dir() for one in CLUSTER_CONTAINERS)
    volumes = {
        mount.partition(":")[0]
        for one in CLUSTER["services"].values()
        for mount in one.get("volumes", [])
    }
    assert volumes == set(CLUSTER["volumes"])


def test_every_variable_of_the_compose_files_is_documented() -> None:
    texts = [file.read_text() for file in ROOT.glob("docker-compose*.yml")]
    variables = set(re.findall(r"\$\{([A-Z_]+)", "".join(texts)))
    assert "STARFOLD_CLUSTER_NETWORK" in variables
    assert [name for name in sorted(variables) if f"`{name}`" not in OPERATING] == []


def _issued(service: str) -> str:
    return {"init": "schema"}.get(service, service)
