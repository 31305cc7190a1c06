"""The admin API of an API process, before each kind of database."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.store.directory import SqliteKeyRing
from adapters.store.tenants import create_tenant
from handlers.admin.directory import DirectoryApi, stored

KEY = "hok_the-operators-key-of-the-tests"
ROOT = "/admin/v1/"


@dataclass
class World:
    """One directory, the database behind it, and an operator's client."""

    where: Path | str
    api: DirectoryApi
    client: httpx.AsyncClient

    async def request(self, method: str, path: str, *, key: str | None = KEY, **options: Any):
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        path = path if path.startswith("/") else ROOT + path
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any):
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any):
        return await self.request("POST", path, json=body, **options)

    async def patch(self, path: str, body: Any, **options: Any):
        return await self.request("PATCH", path, json=body, **options)

    async def lines(self, **query: Any) -> list[dict[str, Any]]:
        return (await self.get("audit", params=query)).json()["entries"]

    def authenticate(self, key: str):
        """As a process that starts now sees the key."""
        with closing(SqliteKeyRing(self.where)) as ring:
            return ring.authenticate(key)


@pytest.fixture
async def world(where):
    create_tenant(where, "acme")
    api = DirectoryApi(stored(where), KEY)
    transport = httpx.ASGITransport(api.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        yield World(where, api, client)
