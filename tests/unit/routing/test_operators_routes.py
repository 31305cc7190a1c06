"""The operator's API of routes, and the tenants' question about them."""

import json
from datetime import UTC, datetime

import httpx
import pytest

from adapters.routing.library import Routing
from adapters.routing.providers import ProviderRouter, TenantsChoice
from adapters.routing.store import RouteStore, load_routes, rules_of
from adapters.smpp.flow.pressure import CarrierReport
from adapters.store.change import change, looking
from adapters.store.tenants import add_tenant, load_tenants
from domain.tenancy import Tenant
from handlers.admin.directory import DirectoryApi
from handlers.admin.routes import routes
from handlers.api.app import create_app
from handlers.api.services import OwnServices
from tests.fakes import FakeClock, FakeEngine, FakeKeys, FakeLog

KEY = "an operator's key"
DK = {"name": "dk", "channel": "sms", "provider": "telia", "prefixes": ["45"]}
NOBODY = ()


class NoAdapters:
    def all_active(self):
        return []

    def active(self, tenant, adapter):
        return None

    def choose(self, tenant, channel):
        return []


class World:
    """An API process: both APIs before one database, with the carriers `telia` and `tdc`."""

    def __init__(self, where):
        self.where = where
        self.carriers = {name: CarrierReport(name) for name in ("telia", "tdc")}
        routing = Routing(self.stored, lambda tenant: Tenant(tenant).routing)
        self.router = ProviderRouter(routing, NoAdapters(), lambda: self.carriers)
        store = RouteStore(
            where,
            lambda database: rules_of(load_tenants(database)),
            implicit=self.router.implicit,
            has_adapter=self.router.has_adapter,
        )
        self.kept = NOBODY
        self.operators = self.client(DirectoryApi([routes(store, self, self)], KEY).app)
        self.engine = FakeEngine()
        self.tenants = self.client(
            create_app(
                FakeKeys({"a": "acme", "g": "globex"}),
                FakeLog(),
                self.engine,
                clock=FakeClock(),
                router=self.router,
                providers=TenantsChoice(OwnServices(), self.router),
                explainer=self,
            )
        )

    def stored(self):
        with looking(self.where) as database:
            found = load_routes(database)
        if found != self.kept:
            self.kept = found
        return self.kept

    def tenant(self, tenant):
        with looking(self.where) as database:
            return load_tenants(database).get(tenant)

    async def explain(self, asked):
        return self.router.explain(asked)

    @staticmethod
    def client(app):
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://hermes.example"
        )

    async def ask(self, method, path, body=None, **options):
        """The operator's request."""
        return await self.operators.request(
            method,
            f"/admin/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {KEY}", "Hermes-Operator": "jo"},
            **options,
        )

    async def post(self, path, body, key="a"):
        """A tenant's request."""
        return await self.tenants.post(path, json=body, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
async def world(where):
    for tenant in ("acme", "globex"):
        add_tenant(where, tenant, {"tier": "dedicated"})
    world = World(where)
    yield world
    await world.operators.aclose()
    await world.tenants.aclose()


def sends(where, tenant):
    with change(where) as database:
        database.execute(
            "INSERT INTO messages (id, tenant, status, created_at, order_json)"
            " VALUES (?, ?, 'sent', ?, ?)",
            (f"msg_{tenant}", tenant, datetime.now(UTC).timestamp(), b"{}"),
        )


async def test_a_routes_life(world):
    made = await world.ask("POST", "routes", DK)
    assert made.status_code == 201
    assert made.json()["weight"] == 100, "with its defaults"
    assert (await world.ask("GET", "routes/dk")).json() == made.json()
    changed = await world.ask("PATCH", "routes/dk", {"weight": 7, "prefixes": None})
    assert (changed.json()["weight"], changed.json()["prefixes"]) == (7, [])
    assert (await world.ask("GET", "routes")).json() == {"routes": [changed.json()]}
    assert (await world.ask("DELETE", "routes/dk")).json() == {"name": "dk"}
    assert (await world.ask("GET", "routes")).json() == {"routes": []}


REFUSED = {
    "twice": ("POST", "routes", DK, 409, "route_exists"),
    "no such route": ("GET", "routes/se", None, 404, "route_not_found"),
    "a change to none": ("PATCH", "routes/se", {"weight": 1}, 404, "route_not_found"),
    "removing none": ("DELETE", "routes/se", None, 404, "route_not_found"),
    "no sense": ("POST", "routes", {**DK, "name": "x", "weight": 0}, 422, "validation_failed"),
    "nobody's": (
        "POST",
        "routes",
        {**DK, "name": "x", "tenants": ["acme", "nobody"]},
        422,
        "validation_failed",
    ),
    "nobody's from now on": (
        "PATCH",
        "routes/dk",
        {"tenants": ["nobody"]},
        422,
        "validation_failed",
    ),
    "no body": ("POST", "routes", None, 400, "body_required"),
    "no such parameter": ("DELETE", "routes/dk?for=ce", None, 422, "validation_failed"),
    "no boolean": ("DELETE", "routes/dk?force=perhaps", None, 422, "validation_failed"),
    "whose message": (
        "POST",
        "routes/explain",
        {"to": "+4520123456", "tenant": "nobody"},
        404,
        "tenant_not_found",
    ),
    "no number": (
        "POST",
        "routes/explain",
        {"to": "45", "tenant": "acme"},
        422,
        "validation_failed",
    ),
    "no channel": (
        "POST",
        "routes/explain",
        {"to": "45", "tenant": "acme", "channel": "fax"},
        422,
        "validation_failed",
    ),
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"), REFUSED.values(), ids=REFUSED
)
async def test_refusals(world, method, path, body, status, code):
    await world.ask("POST", "routes", DK)
    answer = await world.ask(method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_nothing_without_the_operators_key(world):
    for method, path in (("GET", "routes"), ("POST", "routes/explain"), ("DELETE", "routes/dk")):
        answer = await world.operators.request(
            method, f"/admin/v1/{path}", headers={"Authorization": "Bearer another"}
        )
        assert answer.status_code == 401


async def test_the_last_route_of_a_tenant_that_sends_is_needed(world):
    world.carriers = {"telia": CarrierReport("telia")}
    sends(world.where, "acme")
    assert (await world.ask("POST", "routes", {**DK, "prefixes": []})).status_code == 201
    for method, path, body in (
        ("PATCH", "routes/dk", {"enabled": False}),
        ("PATCH", "routes/dk", {"tenants": ["globex"]}),
    ):
        answer = await world.ask(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "route_needed")
        assert "acme (sms)" in answer.json()["detail"]
    # Without the route, its carrier is one by itself again.
    assert (await world.ask("DELETE", "routes/dk")).status_code == 200


async def test_force_has_its_way(world):
    world.carriers = {"telia": CarrierReport("telia")}
    sends(world.where, "acme")
    await world.ask("POST", "routes", DK)
    answer = await world.ask("PATCH", "routes/dk?force=true", {"enabled": False})
    assert (answer.status_code, answer.json()["enabled"]) == (200, False)


async def test_what_if(world):
    await world.ask("POST", "routes", DK)
    await world.ask("POST", "routes", {**DK, "name": "se", "prefixes": ["46"]})
    world.carriers["tdc"] = CarrierReport("tdc", trouble="link lost")
    found = await world.ask("POST", "routes/explain", {"to": "+4520123456", "tenant": "acme"})
    told = found.json()
    assert (told["chosen"], told["strategy"]) == ("dk", "least-cost")
    assert [(c["route"], c["why"], c["up"]) for c in told["candidates"]] == [
        ("dk", "up", True),
        ("tdc", "down", False),
    ] or [(c["route"], c["up"]) for c in told["candidates"]] == [("dk", True), ("tdc", False)]
    assert told["candidates"][1]["trouble"] == "link lost"
    assert [(one["route"], one["why"]) for one in told["left_out"]] == [("se", "other_destination")]


# Tenants


async def test_a_tenant_may_ask_for_itself(world):
    await world.ask("POST", "routes", {**DK, "tenants": ["globex"]})
    body = {"to": "+4520123456"}
    mine = (await world.post("/v1/routes/explain", body)).json()
    theirs = (await world.post("/v1/routes/explain", body, key="g")).json()
    assert [c["route"] for c in mine["candidates"]] == ["tdc"]
    assert theirs["candidates"][0]["route"] == "dk"
    assert "dk" not in json.dumps(mine), "another tenant's route is not mentioned"
    assert "left_out" not in mine


async def test_a_tenant_asks_for_nobody_else(world):
    answer = await world.post("/v1/routes/explain", {"to": "+4520123456", "tenant": "globex"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "unknown_field")


async def test_why_a_carrier_is_down_is_not_the_tenants_business(world):
    world.carriers = {"telia": CarrierReport("telia", trouble="10.0.0.7:2775 refused the password")}
    told = (await world.post("/v1/routes/explain", {"to": "+4520123456"})).text
    assert "10.0.0.7" not in told


async def test_a_message_to_where_no_route_leads_is_refused(world):
    await world.ask("POST", "routes", DK)
    await world.ask("POST", "routes", {**DK, "name": "dk2", "provider": "tdc"})
    message = {"to": {"sms": "+46701234567"}, "content": {"text": "Hi"}}
    answer = await world.post("/v1/messages", message)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "code": "no_route",
            "detail": "No route of yours leads there by sms.",
            "pointer": "/plan/0",
        }
    ]
    assert not world.engine.held


async def test_another_tenants_carrier_is_answered_as_one_that_there_is_not(world):
    await world.ask("POST", "routes", {**DK, "tenants": ["globex"]})
    answers = {}
    for name in ("dk", "telia", "nobody"):
        plan = [{"channel": "sms", "provider": name}]
        message = {"to": {"sms": "+4520123456"}, "content": {"text": "Hi"}, "plan": plan}
        answer = await world.post("/v1/messages", message)
        answers[name] = (answer.status_code, answer.text.replace(name, "it"))
    assert len(set(answers.values())) == 1
    assert answers["dk"][0] == 422
