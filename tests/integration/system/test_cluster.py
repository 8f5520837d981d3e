"""The read models on a cluster of Valkey servers, while slots move and a primary fails."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from ops.home import redis_users
from projector.documents.store import PartitionStore
from projector.generations.table import Generation
from shared.errors import Misconfigured
from shared.read_model.keys import MOVIES, partition_of
from tests.support.api import Api
from tests.support.faults.cluster_load import ClusterLoad
from tests.support.faults.valkey_cluster import Node, ValkeyCluster, valkey_cluster
from tests.support.read_models import active, assert_exact_at_head
from tests.support.scenarios.projector_steps import built
from tests.support.servers import Servers
from tests.support.system import System, eventually


@pytest.fixture(scope="module")
def cluster(servers: Servers) -> Iterator[ValkeyCluster]:
    with valkey_cluster(servers.home) as started:
        yield started


@pytest.fixture
def on_cluster(servers: Servers, cluster: ValkeyCluster) -> Iterator[System]:
    for node in cluster.primaries:
        node.client.flushall()
    system = System(servers, redis_url=cluster.url)
    yield system
    system.close()


@pytest.fixture
def clustered(on_cluster: System) -> Iterator[Api]:
    command = on_cluster.start_command_api()
    on_cluster.start_projector()
    query = on_cluster.start_query_api()
    with Api(command.url, query.url, on_cluster.service_key()) as api:
        eventually(lambda: api.query.get("/ready").status_code == 200)
        yield api


def test_reads_stay_exact_while_slots_move_and_a_primary_fails(
    clustered: Api, on_cluster: System, cluster: ValkeyCluster
) -> None:
    load = ClusterLoad(clustered, seed=3)
    wiring = on_cluster.projector_wiring()
    with load.running():
        for movie in load.movies[:3]:
            move_partition(cluster, active(wiring, MOVIES), movie)
        failed = cluster.primaries[0]
        cluster.kill_primary(failed)
        failed.start()
        cluster.wait_whole()
    assert load.faults == []
    clustered.position = on_cluster.event_store().head()
    load.assert_exact()
    assert_exact_at_head(on_cluster)


def test_a_replay_builds_a_generation_that_replaces_the_old_one(
    clustered: Api, on_cluster: System
) -> None:
    load = ClusterLoad(clustered, seed=4)
    wiring = on_cluster.projector_wiring()
    before = active(wiring, MOVIES)
    with load.running():
        number = built(wiring, MOVIES, shares=2).number
        assert wiring.generations.switch_when_ready(MOVIES, number)
        eventually(lambda: active(wiring, MOVIES).number > before.number)
    assert load.faults == []
    clustered.position = on_cluster.event_store().head()
    load.assert_exact()
    assert_exact_at_head(on_cluster)


def test_every_primary_must_keep_what_it_is_given(
    on_cluster: System, cluster: ValkeyCluster
) -> None:
    store = PartitionStore(cluster.url(redis_users.PROJECTOR))
    store.require_usable()
    last = cluster.primaries[-1].client
    last.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(Misconfigured, match="noeviction"):
            store.require_usable()
    finally:
        last.config_set("maxmemory-policy", "noeviction")
        store.close()


def test_an_erasure_rewrites_the_files_of_every_primary(
    clustered: Api, on_cluster: System, cluster: ValkeyCluster
) -> None:
    before = [rewrites(node) for node in cluster.primaries]
    ann = clustered.sign_up(name="Ann of the cluster")
    clustered.expect(204, clustered.command.delete("/v1/users/me", headers=ann.headers))

    def rewritten() -> bool:
        now = [rewrites(node) for node in cluster.primaries]
        return all(one > other for one, other in zip(now, before, strict=True))

    eventually(rewritten)


def test_making_the_cluster_again_changes_nothing_but_what_is_missing(
    cluster: ValkeyCluster,
) -> None:
    """After a failover, and with a replica that has forgotten the others."""
    failed = cluster.primaries[0]
    cluster.kill_primary(failed)
    failed.start()
    cluster.wait_whole()
    primaries = {node.id for node in cluster.primaries}
    cluster.make()
    cluster.wait_whole()
    assert {node.id for node in cluster.primaries} == primaries
    replica = next(node for node in cluster.nodes if not node.is_primary)
    replica.client.execute_command("CLUSTER RESET")
    assert replica.is_primary
    cluster.make()
    cluster.wait_whole()
    assert {node.id for node in cluster.primaries} == primaries


def rewrites(node: Node) -> int:
    return int(node.client.info("persistence")["aof_rewrites"])


def move_partition(cluster: ValkeyCluster, generation: Generation, movie: str) -> None:
    number = partition_of(UUID(movie), generation.partitions)
    cluster.move_slot(generation.keys(number).checkpoint)
