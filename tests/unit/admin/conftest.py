"""The admin API over real carriers' connections to the SMSC simulator, and a real database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.operations import CarrierOperations
from adapters.smpp.correlator import Correlator
from adapters.smpp.pool import BindPool
from adapters.smpp.store.journal import Journal
from adapters.telemetry.carriers import CarrierCollector, PoolGauges
from adapters.telemetry.exposition import Metrics
from handlers.admin.app import AdminApi
from infra.simulators.smsc import Options, SmscSimulator
from tests.waiting import eventually

KEY = "hok_the-operators-own-key"
PASSWORD = "hermes"


class Nowhere:
    """Restate's place; nothing gets there."""

    async def resolve(self, ref, receipt):
        """Takes it."""

    async def report(self, message_id, receipt):
        """Takes it."""


@dataclass
class World:
    """One pool with its admin API, as a process has it."""

    api: AdminApi
    pool: BindPool
    operations: CarrierOperations
    journal: Journal
    correlator: Correlator
    client: httpx.AsyncClient

    async def request(self, method: str, path: str, *, key: str | None = KEY, **options: Any):
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        path = path if path.startswith("/") else f"/admin/v1/{path}"
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any):
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any):
        more = {} if body is None else {"json": body}
        return await self.request("POST", path, **more, **options)

    async def patch(self, path: str, body: Any, **options: Any):
        return await self.request("PATCH", path, json=body, **options)

    async def delete(self, path: str, **options: Any):
        return await self.request("DELETE", path, **options)

    async def states(self):
        """Every carrier's state, by name and in order."""
        answer = await self.get("carriers")
        return {carrier["name"]: carrier["state"] for carrier in answer.json()["carriers"]}

    async def until(self, **states: str):
        """Wait until these carriers have these states."""

        async def reached():
            now = await self.states()
            return states.items() <= now.items()

        await eventually(reached)


@pytest.fixture
async def smsc():
    """An SMSC that several accounts may bind to."""
    simulator = SmscSimulator(Options(receipt_delay=0.01))
    simulator.port, _ = await simulator.start(port=0)
    yield simulator
    await simulator.stop()


@pytest.fixture
def account(smsc):
    """A carrier's settings as JSON."""

    def make(name="one", **more):
        return {
            "name": name,
            "hosts": [f"127.0.0.1:{smsc.port}"],
            "tls": False,
            "system_id": "hermes",
            "password": PASSWORD,
            **more,
        }

    return make


@pytest.fixture
async def start(tmp_path):
    """Starts pools on one database: `await start(account, …)` with the file's carriers; each
    ends with `await start.stop(world)`, or with the test."""
    running = {}

    async def begin(*accounts):
        async with contextlib.AsyncExitStack() as stack:
            journal = Journal(tmp_path / "smpp.db")
            stack.push_async_callback(journal.close)
            correlator = Correlator(journal, Nowhere())
            stack.push_async_callback(correlator.close)
            pool = BindPool((), journal, correlator)
            stack.push_async_callback(pool.close)
            configured = [CarrierConfig.model_validate(each) for each in accounts]
            operations = CarrierOperations(pool.mesh, journal, configured)
            stack.push_async_callback(operations.close)
            await operations.start()
            gauges = PoolGauges(
                carriers=lambda: [carrier.health() for carrier in pool.mesh.carriers],
                queues=pool.queues,
                unmatched=lambda: correlator.unmatched,
                lag=lambda: pool.lag,
            )
            metrics = Metrics(CarrierCollector(gauges))
            api = AdminApi(operations, pool, correlator, metrics, KEY)
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(api.app), base_url="http://pool.example"
                )
            )
            world = World(api, pool, operations, journal, correlator, client)
            running[id(world)] = stack.pop_all()
            return world

    async def stop(world):
        await running.pop(id(world)).aclose()

    begin.stop = stop
    yield begin
    for stack in list(running.values()):
        await stack.aclose()


@pytest.fixture
async def world(start, account):
    """One pool with one carrier of the file, bound."""
    world = await start(account("one"))
    await world.until(one="up")
    return world
