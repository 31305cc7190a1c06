"""A tenant sees its own senders, and nobody else's."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx

from domain.compliance.senders import Sender, Senders, SenderStatus
from handlers.api.app import create_app
from tests.fakes import FakeEngine, FakeKeys, FakeLog


class Registered:
    value = Senders(
        [
            Sender("acme", "Zed"),
            Sender("globex", "Globex", SenderStatus.APPROVED),
            Sender("acme", "Acme", SenderStatus.APPROVED, ("IN",), True, "not for tenants"),
        ]
    )


@asynccontextmanager
async def client(**options):
    app = create_app(
        FakeKeys({"key": "acme", "other": "empty"}), FakeLog(), FakeEngine(), **options
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as http:
        yield http


async def asked(http, key: str):
    answer = await http.get("/v1/senders", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_tenants_senders():
    async with client(senders=Registered()) as http:
        assert await asked(http, "key") == [
            {"sender": "Acme", "status": "approved", "countries": ["IN"], "reserved": True},
            {"sender": "Zed", "status": "pending", "countries": [], "reserved": False},
        ]
        assert await asked(http, "other") == []


async def test_a_hermes_without_senders():
    async with client() as http:
        assert await asked(http, "key") == []
