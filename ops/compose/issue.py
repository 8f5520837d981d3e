"""Issue to each process of a deployment its own settings, and no others.

A container of the compose file sees only its own folder: each is a separate volume. On Kubernetes
each folder becomes a Secret, and for systemd a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from ops.errors import OperatorError
from ops.home import redis_users
from ops.home.folder import DATABASE, OWNER_ROLE, Home, write_private
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE
from shared.process.cluster_address import cluster_address
from shared.process.postgres_settings import PostgresUrl
from shared.process.redis_settings import RedisUrl, SingleRedisUrl
from shared.process.settings import Settings

LEDGER = Path("/var/lib/starfold/ledger/erasures.jsonl")
# The servers' containers read their files as users of their own images.
READABLE_BY_ALL = 0o444
POSTGRES_START = Path(__file__).with_name("postgres_start.sh")

# The role of each service, and the settings that it needs, without `STARFOLD_`. Only the first
# steps and the operator's container, which runs for one command, have the rights of the database's
# owner.
NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "schema": (OWNER_ROLE, ("OWNER_DATABASE_URL", "COMMAND_PASSWORD", "PROJECTOR_PASSWORD")),
    "first-steps": (OWNER_ROLE, ("OWNER_DATABASE_URL",)),
    "command-api": (
        COMMAND_ROLE,
        (
            "DATABASE_URL",
            "SEALING_KEY",
            "RESERVATION_SECRET",
            "ERASURE_LEDGER",
            "TOKEN_PRIVATE_KEY",
            "TOKEN_PUBLIC_KEY",
            "METRICS_TOKEN",
        ),
    ),
    "projector": (PROJECTOR_ROLE, ("DATABASE_URL", "REDIS_URL", "SEALING_KEY")),
    "query-api": (
        PROJECTOR_ROLE,
        ("REDIS_URL", "TOKEN_PUBLIC_KEY", "CURSOR_KEY", "METRICS_TOKEN"),
    ),
    "worker": (PROJECTOR_ROLE, ("DATABASE_URL", "REDIS_URL", "JOBS_REDIS_URL", "SEALING_KEY")),
    "console": (
        PROJECTOR_ROLE,
        (
            "DATABASE_URL",
            "REDIS_URL",
            "JOBS_REDIS_URL",
            "SEALING_KEY",
            "RESERVATION_SECRET",
            "TOKEN_PUBLIC_KEY",
            "METRICS_TOKEN",
        ),
    ),
    "cluster": (PROJECTOR_ROLE, ("REDIS_URL",)),
    "operator": (
        COMMAND_ROLE,
        (
            "DATABASE_URL",
            "OWNER_DATABASE_URL",
            "SEALING_KEY",
            "RESERVATION_SECRET",
            "ERASURE_LEDGER",
        ),
    ),
}
# What a process needs beside a key while that key is rotated.
SECONDS: Mapping[str, str] = {
    "SEALING_KEY": "SECOND_SEALING_KEY",
    "TOKEN_PUBLIC_KEY": "SECOND_TOKEN_PUBLIC_KEY",
}
REDIS_USERS: Mapping[str, str] = {
    "projector": redis_users.PROJECTOR,
    "query-api": redis_users.QUERY_API,
    "worker": redis_users.WORKER,
    "console": redis_users.WORKER,
}
CONTAINERS = (*NEEDS, "postgres", "redis", "cluster-node", "prometheus", "grafana")
# The containers that only a cluster has.
CLUSTER_CONTAINERS = ("cluster", "cluster-node")
CLUSTER_NODE_TIMEOUT_MS = 5_000

log = structlog.get_logger()


class IssueSettings(Settings):
    """Settings from `STARFOLD_*` for issuing: the servers' addresses, without user and password."""

    postgres: PostgresUrl = SecretStr("host=postgres")
    # A server, or the nodes of a cluster.
    redis: RedisUrl = SecretStr("redis://redis:6379")
    jobs_redis: SingleRedisUrl = SecretStr("redis://redis:6379")

    @property
    def has_cluster(self) -> bool:
        return cluster_address(self.redis.get_secret_value()) is not None


class SecretsHome(Home):
    """The folder of the secrets; the servers run elsewhere, and so the ledger is elsewhere."""

    def __init__(self, path: Path, servers: IssueSettings) -> None:
        super().__init__(path)
        self._servers = servers

    @property
    def erasure_ledger(self) -> Path:
        return LEDGER

    def dsn(self, role: str, password: str, database: str = DATABASE) -> str:
        postgres = self._servers.postgres.get_secret_value()
        return make_conninfo(postgres, user=role, password=password, dbname=database)

    def redis_url(self, user: str = redis_users.OWNER, database: int = 0) -> str:
        server = self._servers.jobs_redis if database else self._servers.redis
        scheme, _, address = server.get_secret_value().partition("://")
        nodes, mark, query = address.partition("?")
        # A cluster has a single database.
        path = "" if cluster_address(server.get_secret_value()) else f"/{database}"
        password = self.secrets().redis_passwords[user]
        return f"{scheme}://{user}:{password}@{nodes.rstrip('/')}{path}{mark}{query}"


def issue_secrets(home: Home, issued: Path) -> None:
    """Write each container's files; leave up-to-date ones alone.

    The containers of a cluster are issued theirs if the home's read models are on one.

    Raises `OperatorError` if the secrets from which other volumes were issued are gone.
    """
    if not home.secrets_file.exists() and (issued / "postgres/password").exists():
        raise OperatorError(
            "the volume `secrets` is missing or empty, and the other volumes were issued from it."
            " It holds the passwords, and the key without which no e-mail address, name or review"
            " can be read: restore it from a backup. `docker compose down -v` deletes all data and"
            " starts from scratch"
        )
    own = home.secrets()
    _issue(issued / "postgres/password", own.owner_password, READABLE_BY_ALL)
    _issue(issued / "postgres/start.sh", POSTGRES_START.read_text(), READABLE_BY_ALL)
    acl = redis_users.acl_file(own.redis_passwords)
    _issue(issued / "redis/users.acl", acl, READABLE_BY_ALL)
    _issue(issued / "redis/redis.conf", "aclfile /etc/starfold/users.acl\n", READABLE_BY_ALL)
    _issue(issued / "prometheus/metrics-token", own.metrics_token, READABLE_BY_ALL)
    _issue(issued / "grafana/admin-password", own.grafana_password, READABLE_BY_ALL)
    has_cluster = cluster_address(home.redis_url()) is not None
    if has_cluster:
        _issue(issued / "cluster-node/users.acl", acl, READABLE_BY_ALL)
        node = _node_configuration(own.redis_passwords[redis_users.OWNER])
        _issue(issued / "cluster-node/redis.conf", node, READABLE_BY_ALL)
    for service, (role, names) in NEEDS.items():
        if service in CLUSTER_CONTAINERS and not has_cluster:
            continue
        environment = {
            **home.environment(role, REDIS_USERS.get(service, redis_users.OWNER)),
            "STARFOLD_OWNER_DATABASE_URL": home.owner_dsn(),
            "STARFOLD_COMMAND_PASSWORD": own.command_password,
            "STARFOLD_PROJECTOR_PASSWORD": own.projector_password,
            "STARFOLD_METRICS_TOKEN": own.metrics_token,
        }
        seconds = [
            second
            for name, second in SECONDS.items()
            if name in names and f"STARFOLD_{second}" in environment
        ]
        lines = [
            f"STARFOLD_{name}={environment[f'STARFOLD_{name}']}\n" for name in (*names, *seconds)
        ]
        _issue(issued / service / "environment", "".join(lines))
    log.info("secrets_issued")


def _node_configuration(password: str) -> str:
    """Return a node's settings; a replica logs in to its primary like any client."""
    lines = {
        "aclfile": "/etc/starfold/users.acl",
        "cluster-enabled": "yes",
        "cluster-node-timeout": CLUSTER_NODE_TIMEOUT_MS,
        # The names that Redis and Valkey both know.
        "masteruser": redis_users.OWNER,
        "masterauth": password,
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def _issue(file: Path, content: str, mode: int = 0o600) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists() or file.read_text() != content:
        write_private(file, content.encode())
    file.chmod(mode)
