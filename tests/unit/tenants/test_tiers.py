"""What a tier gives."""

import httpx
import pytest

from adapters.routing.store import RouteStore, rules_of
from adapters.store.change import change
from adapters.store.tenants import load_tenants
from domain.routing.rules import RoutingRules
from domain.tenancy import Tenant, Tier
from handlers.admin.directory import DirectoryApi, stored
from handlers.admin.routes import routes
from handlers.api.app import create_app
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.tenants.conftest import KEY as KEY_OF_OPERATOR

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


ROUTE = {"name": "own", "channel": "sms", "provider": "telia", "tenants": ["acme"]}
SENDER = "senders/acme/AcmeBank"
RULES = {
    "strategy": "weighted",
    "pins": [{"route": "own"}],
    "order": ["own"],
    "exclude": ["other"],
    "weights": {"own": 7},
    "own_only": True,
    "max_price": "0.05",
}


@pytest.fixture
def operator(world):
    """The directory's resources and the routes, as an operator has them."""
    store = RouteStore(world.where, lambda database: rules_of(load_tenants(database)))
    api = DirectoryApi([*stored(world.where), routes(store, None, None)], KEY_OF_OPERATOR)

    async def ask(method, path, body=None):
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as one:
            headers = {"authorization": f"Bearer {KEY_OF_OPERATOR}"}
            answer = await one.request(method, f"/admin/v1/{path}", json=body, headers=headers)
            return answer.status_code, answer.json()

    return ask


OWN = {
    "a reserved sender": ("PUT", SENDER, {"reserved": True}),
    "a route": ("POST", "routes", ROUTE),
    **{
        f"routing.{key}": ("PATCH", "tenants/acme", {"routing": {key: value}})
        for key, value in RULES.items()
    },
}


def test_every_routing_rule_is_among_them():
    assert set(RULES) == set(RoutingRules.__struct_fields__)


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
async def test_what_is_a_tenants_own_needs_the_tier_dedicated(operator, own):
    status, problem = await operator(*own)
    assert (status, problem["code"]) == (403, "tier_required")
    assert "dedicated" in problem["detail"]
    for tier in ("dedicated", "custom"):
        assert (await operator("PATCH", "tenants/acme", {"tier": tier}))[0] == 200
    assert (await operator(*own))[0] in (200, 201)


async def test_what_everybody_may_have_needs_no_tier(operator):
    registered = {"status": "approved", "countries": ["IN"]}
    assert (await operator("PUT", SENDER, registered))[0] == 200
    shared = {**ROUTE, "tenants": []}
    assert (await operator("POST", "routes", shared))[0] == 201
    assert (await operator("PATCH", "tenants/acme", {"suspended": True}))[0] == 200


async def test_a_route_is_not_given_to_a_tenant_without_the_tier(operator):
    await operator("POST", "tenants", {"id": "globex", "tier": "dedicated"})
    assert (await operator("POST", "routes", {**ROUTE, "tenants": ["globex"]}))[0] == 201
    both = {"tenants": ["globex", "acme"]}
    status, problem = await operator("PATCH", "routes/own", both)
    assert (status, problem["code"]) == (403, "tier_required")
    assert "acme" in problem["detail"]


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
async def test_a_tier_is_not_taken_from_under_it(operator, own):
    await operator("PATCH", "tenants/acme", {"tier": "custom"})
    assert (await operator(*own))[0] in (200, 201)
    assert (await operator("PATCH", "tenants/acme", {"tier": "dedicated"}))[0] == 200
    status, problem = await operator("PATCH", "tenants/acme", {"tier": "shared"})
    if own[1] == "tenants/acme":
        assert (status, problem["code"]) == (409, "tier_in_use")
        assert "routing rules" in problem["detail"]
        # In one change the rules may go with the tier.
        both = {"tier": "shared", "routing": None}
        assert (await operator("PATCH", "tenants/acme", both))[0] == 200
        return
    assert (status, problem["code"]) == (409, "tier_in_use")
    assert own[1].rpartition("/")[2] in problem["detail"] or "the route own" in problem["detail"]
    name = "routes/own?force=true" if own[1] == "routes" else own[1]
    assert (await operator("DELETE", name))[0] == 200
    assert (await operator("PATCH", "tenants/acme", {"tier": "shared"}))[0] == 200


async def test_adapters_of_its_own_keep_the_tier_custom(operator, world):
    await operator("PATCH", "tenants/acme", {"tier": "custom"})
    with change(world.where) as database:
        database.execute(
            "INSERT INTO adapter_versions (tenant, adapter, version, component, manifest_json,"
            " size, published_at) VALUES ('acme', 'mine', 'abc', 'abc', '{}', 1, 1.0)"
        )
    status, problem = await operator("PATCH", "tenants/acme", {"tier": "dedicated"})
    assert (status, problem["code"]) == (409, "tier_in_use")
    assert "the adapter mine" in problem["detail"]


async def test_a_tenant_from_before_the_tiers_can_still_be_changed(operator, world):
    """Its rules came when no tier was needed for them."""
    with change(world.where, "tenants") as database:
        kept = '{"routing": {"own_only": true}}'
        database.execute("UPDATE tenants SET settings_json = ? WHERE id = 'acme'", (kept,))
    assert (await operator("PATCH", "tenants/acme", {"suspended": True}))[0] == 200
    status, problem = await operator("PATCH", "tenants/acme", {"routing": {"order": ["a"]}})
    assert (status, problem["code"]) == (403, "tier_required")
    assert (await operator("PATCH", "tenants/acme", {"routing": None}))[0] == 200
