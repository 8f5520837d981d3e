"""The console of a running system, an operator with a service key, and a worker of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest
from rq import Worker
from rq.serializers import JSONSerializer

from ops.acts.log import Act, ActLog
from ops.jobs import JobQueue
from shared.log.schema import PROJECTOR_ROLE
from tests.support.system import System, eventually


class Operated:
    """The operators' API of a system."""

    def __init__(
        self, system: System, scopes: Sequence[str] = ("operate",), **settings: Any
    ) -> None:
        self.system = system
        self.url = system.start_console(**settings).url
        credential = {"Authorization": f"Bearer {system.service_key(list(scopes))}"}
        self.http = httpx.Client(base_url=f"{self.url}/v1/operator", headers=credential, timeout=60)
        self.acts = ActLog(system.dsn(PROJECTOR_ROLE), schema=system.schema)
        self._jobs = JobQueue(system.console_settings())
        self._worker: Worker | None = None

    def close(self) -> None:
        self.http.close()
        self.dismiss_worker()
        self._jobs.close()

    def hire_worker(self) -> None:
        """Have the console see a worker, which works only when told to."""
        queue = self._jobs.queue
        self._worker = Worker([queue], connection=queue.connection, serializer=JSONSerializer)
        self._worker.register_birth()

    def dismiss_worker(self) -> None:
        if self._worker is not None:
            self._worker.register_death()
            self._worker = None

    def work(self) -> None:
        """Do every job in the queue."""
        own = self.system.servers.home.environment(PROJECTOR_ROLE)
        own["STARFOLD_DATABASE_SCHEMA"] = self.system.schema
        with pytest.MonkeyPatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            for job in self._jobs.queue.jobs:
                self._jobs.queue.remove(job)
                job.perform()

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def act(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        version: str | None = None,
        key: str | None = None,
    ) -> Any:
        """Send an act; return the fields of its answer, `location` among them."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return {**answer.json(), "location": answer.headers.get("location")}

    def recorded(self, name: str) -> list[Act]:
        """The acts of that name, newest first."""
        return [one for one in self.acts.page() if one.act == name]

    def ended(self, act_id: str) -> Any:
        """Wait for a long act."""

        def closed() -> Any:
            act = self.get(f"/acts/{act_id}")
            return act if act["state"] != "running" else None

        return eventually(closed)

    def generation(self, projection: str, number: int) -> Any:
        """The state of a generation; None if it is purged."""
        for one in self.get("/projections")["generations"]:
            if (one["projection"], one["generation"]) == (projection, number):
                return one
        return None

    def version_of(self, projection: str) -> str:
        """The version of a projection as its page shows it."""
        for one in self.get("/projections")["projections"]:
            if one["projection"] == projection:
                return str(one["version"])
        raise AssertionError(projection)
