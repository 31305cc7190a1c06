"""How a person is forgotten: by a tenant, and by an operator in a tenant's place."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.store import audit
from adapters.store.tenants import create_tenant
from domain.mode import Mode
from domain.ports import Principal
from domain.tenancy import EVERYTHING, Scope
from handlers.admin.directory import DirectoryApi
from handlers.admin.retention import retention
from handlers.api.app import create_app
from tests.fakes import FakeEngine, FakeLog
from tests.unit.retention.conftest import MAIL, PHONE, World

OPERATOR = "operator-key-0123456789"
KEYS = {
    "acme-key": Principal("acme", "k1", EVERYTHING),
    "other-key": Principal("other", "k2", EVERYTHING),
    "reader-key": Principal("acme", "k3", frozenset({Scope.READ})),
    "test-key": Principal("acme", "k4", EVERYTHING, Mode.TEST),
}


class Keys:
    def authenticate(self, presented: str) -> Principal | None:
        return KEYS.get(presented)


class Doors:
    """Both doors of one database."""

    def __init__(self, tenants: httpx.AsyncClient, operators: httpx.AsyncClient) -> None:
        self._tenants, self._operators = tenants, operators

    async def erase(self, body: object, key: str = "acme-key") -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return await self._tenants.request("DELETE", "/v1/recipients", json=body, headers=headers)

    async def operate(self, method: str, path: str, body: object = None, **headers: str):
        known = {"Authorization": f"Bearer {OPERATOR}", **headers}
        return await self._operators.request(method, f"/admin/v1/{path}", json=body, headers=known)


@pytest.fixture
async def doors(world: World) -> AsyncIterator[Doors]:
    erasures = world.erasures()
    create_tenant(world.where, "acme")
    tenants = create_app(Keys(), FakeLog(), FakeEngine(), erasures=erasures)
    operators = DirectoryApi([retention(world.where, erasures)], OPERATOR).app
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(tenants), base_url="http://h.test") as one,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(operators), base_url="http://h.test"
        ) as two,
    ):
        yield Doors(one, two)


async def test_a_tenant_forgets_a_person(world: World, doors: Doors, names):
    await world.ended(world.order())
    answer = await doors.erase({"to": {"sms": PHONE, "email": MAIL.upper()}})
    assert answer.status_code == 200
    found = answer.json()["recipients"]
    assert found["sms"] == {"erased": 1, "under_way": 0, "more": False}
    assert names(world) == set()


async def test_it_may_be_asked_again(world: World, doors: Doors):
    await world.ended(world.order())
    await doors.erase({"to": {"sms": PHONE}})
    again = await doors.erase({"to": {"sms": PHONE}})
    assert again.json()["recipients"] == {"sms": {"erased": 0, "under_way": 0, "more": False}}


async def test_another_tenant_learns_and_changes_nothing(world: World, doors: Doors):
    kept = await world.ended(world.order())
    answer = await doors.erase({"to": {"sms": PHONE}}, "other-key")
    assert answer.json()["recipients"] == {"sms": {"erased": 0, "under_way": 0, "more": False}}
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to["sms"] == PHONE


REFUSED = {
    # the body, and the code of its fault
    "no address": ({"to": {}}, "no_recipient"),
    "no such channel": ({"to": {"pigeon": "coo"}}, "unknown_channel"),
    "no number": ({"to": {"sms": "anna"}}, "not_a_number"),
    "something else": ({"to": {"sms": PHONE}, "why": "asked"}, "unknown_field"),
    "nothing": ({}, "required"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_names_nobody_is_refused(doors: Doors, body, code):
    answer = await doors.erase(body)
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == [code]


KEYS_REFUSED = {"reader-key": "scope_missing", "test-key": "live_key_required"}


@pytest.mark.parametrize(("key", "code"), KEYS_REFUSED.items(), ids=KEYS_REFUSED)
async def test_not_every_key_may(world: World, doors: Doors, key, code):
    kept = await world.ended(world.order())
    answer = await doors.erase({"to": {"sms": PHONE}}, key)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to["sms"] == PHONE


async def test_an_operator_forgets_in_a_tenants_place(world: World, doors: Doors, names):
    await world.ended(world.order())
    asked = {"tenant": "acme", "to": {"sms": PHONE}}
    answer = await doors.operate("POST", "erasures", asked, **{"hermes-operator": "kim"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["recipients"]["sms"]["erased"] == 1
    assert names(world) == set()
    with world.database() as database:
        line = audit.entries(database, tenant="acme", limit=10)[0]
    assert (line.action, line.actor) == ("recipient.erase", "operator:kim")


async def test_a_mistyped_tenant_has_forgotten_nobody(world: World, doors: Doors):
    kept = await world.ended(world.order())
    answer = await doors.operate("POST", "erasures", {"tenant": "acne", "to": {"sms": PHONE}})
    assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to["sms"] == PHONE
    assert (await doors.operate("GET", "retention")).json()["erasures_kept"] == 0


async def test_an_operator_sees_whether_somebody_sweeps(world: World, doors: Doors):
    before = (await doors.operate("GET", "retention")).json()
    assert before == {"on_duty_until": None, "erasures_kept": 0}
    await doors.erase({"to": {"sms": PHONE}})
    world.sweeper().round()
    after = (await doors.operate("GET", "retention")).json()
    assert after["on_duty_until"].startswith("2026-05-01T12:02:00")
    assert after["erasures_kept"] == 1
