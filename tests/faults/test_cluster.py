"""A cluster of Valkey under load: primaries are killed, others hang, and slots move.

`STARFOLD_KILLS` says how many of each, 10 without it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from shared.read_model.keys import MOVIES, PROFILES
from tests.support.api import Api
from tests.support.faults.cluster_load import ClusterLoad
from tests.support.faults.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.read_models import active, assert_exact_at_head
from tests.support.servers import Servers
from tests.support.system import System, eventually

KILLS = int(os.environ.get("STARFOLD_KILLS", "10"))
READY_WITHIN_S = 60.0
UNDISTURBED_S = 1.0


@pytest.fixture
def cluster() -> Iterator[tuple[Servers, ValkeyCluster]]:
    servers = Servers()
    servers.start()
    with valkey_cluster(servers.home) as started:
        yield servers, started
    servers.close()


@pytest.mark.timeout(1_800)
def test_nothing_is_wrong_while_primaries_fail_and_slots_move(
    cluster: tuple[Servers, ValkeyCluster],
) -> None:
    servers, nodes = cluster
    system = System(servers, redis_url=nodes.url)
    command = system.start_command_api()
    system.start_projector()
    query = system.start_query_api()
    taken_over_s, hung_s = list[float](), list[float]()
    with Api(command.url, query.url, system.service_key()) as api:
        eventually(lambda: api.query.get("/ready").status_code == 200, READY_WITHIN_S)
        load = ClusterLoad(api, seed=7)
        wiring = system.projector_wiring()
        with load.running():
            for number in range(KILLS):
                projection = (MOVIES, PROFILES)[number % 2]
                generation = active(wiring, projection)
                nodes.move_slot(generation.keys(number % generation.partitions).checkpoint)
                failed = nodes.primaries[number % 3]
                taken_over_s.append(nodes.kill_primary(failed))
                time.sleep(UNDISTURBED_S)
                failed.start()
                nodes.wait_whole()
                hung_s.append(nodes.hang_primary(nodes.primaries[number % 3]))
                nodes.wait_whole()
        api.position = system.event_store().head()
        eventually(lambda: api.get("/v1/movies").status_code == 200, READY_WITHIN_S)
        load.assert_exact()
    print(f"{KILLS} primaries killed, {KILLS} hung and {KILLS} slots moved; taken over within")
    print(f"{max(taken_over_s):.1f} and {max(hung_s):.1f} s; answers: {dict(load.statuses)}")
    print(f"longest gap of one path {load.longest_gap_s:.1f} s; {len(load.scores)} ratings")
    assert load.faults == []
    assert_exact_at_head(system)
    system.close()
