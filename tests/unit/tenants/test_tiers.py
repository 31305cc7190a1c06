"""What a tier gives."""

import httpx
import pytest

from domain.tenancy import Tenant, Tier
from handlers.api.app import create_app
from tests.fakes import FakeEngine, FakeKeys, FakeLog

KEY = "key-of-alice"


class Tenants:
    """One tenant of a tier."""

    def __init__(self, tier):
        self.found = Tenant("alice", tier)

    def tenant(self, tenant):
        return self.found if tenant == "alice" else None


async def published(tier):
    """The answer to an upload, where nobody is who would take it."""
    app = create_app(FakeKeys({KEY: "alice"}), FakeLog(), FakeEngine(), tenants=Tenants(tier))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        return await client.post(
            "/v1/adapters/mine/versions",
            content=b"zip",
            headers={"authorization": f"Bearer {KEY}", "content-type": "application/zip"},
        )


@pytest.mark.parametrize("tier", [Tier.SHARED, Tier.DEDICATED])
async def test_adapters_of_its_own_need_the_tier_custom(tier):
    answer = await published(tier)
    assert (answer.status_code, answer.json()["code"]) == (403, "tier_required")
    assert "custom" in answer.json()["detail"]


async def test_a_tenant_of_the_tier_custom_gets_further():
    assert (await published(Tier.CUSTOM)).json()["code"] == "not_found"
