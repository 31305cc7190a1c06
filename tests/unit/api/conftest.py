"""The API before ports in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from handlers.api.app import create_app
from handlers.api.services import Limits
from tests.fakes import FakeClock, FakeEngine, FakeKeys, FakeLog

ALICE = "key-of-alice"
BOB = "key-of-bob"
MESSAGE = {"to": {"sms": "+4520123456"}, "content": {"text": "Hello"}}


@dataclass
class World:
    """One API with everything around it. Requests are Alice's unless `key` says otherwise."""

    app: Any
    keys: FakeKeys
    log: FakeLog
    engine: FakeEngine
    clock: FakeClock
    client: httpx.AsyncClient

    async def request(self, method: str, path: str, *, key: str | None = ALICE, **options: Any):
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any):
        return await self.request("GET", path, **options)

    async def delete(self, path: str, **options: Any):
        return await self.request("DELETE", path, **options)

    async def post(self, body: Any = MESSAGE, path: str = "/v1/messages", **options: Any):
        """Send a JSON value, or bytes as they are."""
        if isinstance(body, bytes):
            headers = {"Content-Type": "application/json", **options.pop("headers", {})}
            return await self.request("POST", path, content=body, headers=headers, **options)
        return await self.request("POST", path, json=body, **options)

    async def batch(self, messages: Any, **options: Any):
        return await self.post({"messages": messages}, "/v1/messages/batch", **options)

    def nothing_happened(self) -> bool:
        """True when neither Restate nor the log has heard of any message."""
        return not self.engine.held and not self.log.rows


@pytest.fixture
async def world():
    keys = FakeKeys({ALICE: "alice", BOB: "bob"})
    log, engine, clock = FakeLog(), FakeEngine(), FakeClock()
    app = create_app(
        keys, log, engine, clock=clock, limits=Limits(repeat_patience=0.05, probe_timeout=0.05)
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        yield World(app, keys, log, engine, clock, client)
