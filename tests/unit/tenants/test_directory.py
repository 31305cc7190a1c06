"""Operators add tenants, change them, and hand out keys; each change has its line in the log."""

import re
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from adapters.store.keys import create_key, key_id_of
from adapters.store.tenants import create_tenant
from domain.tenancy import EVERYTHING, Mode, Scope
from handlers.admin.problems import OPERATOR_PROBLEMS


async def test_every_route_needs_the_operators_key(world):
    tenants_key = create_key(world.where, "acme")
    routes = [(method, route.path) for route in world.api.routes for method in route.methods]
    assert len(routes) >= 12
    for method, path in routes:
        filled = re.sub(r"{\w+}", "acme", path)
        for key, code in ((None, "missing_key"), (tenants_key, "invalid_key")):
            answer = await world.request(method, filled, key=key, json={"suspended": True})
            assert answer.status_code == 401, (method, path)
            if method != "HEAD":
                assert answer.json()["code"] == code
    assert (await world.get("tenants/acme")).json()["changed"] == {}


async def test_the_document_is_valid_and_has_every_route(world):
    document = (await world.get("openapi.json")).json()
    validate(document, cls=OpenAPIV31SpecValidator)
    documented = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    served = {(method, route.path) for route in world.api.routes for method in route.methods}
    assert documented == {route for route in served if route[0] != "HEAD"}
    assert all(
        operation["description"]
        for methods in document["paths"].values()
        for operation in methods.values()
    )


async def test_answers_have_the_documented_shape(world):
    document = (await world.get("openapi.json")).json()
    key = (await world.post("keys", {"tenant": "acme"})).json()["made"]["id"]
    asked = [
        ("GET", "tenants", None),
        ("POST", "tenants", {"id": "globex"}),
        ("GET", "tenants/{id}", "acme"),
        ("PATCH", "tenants/{id}", {"tier": "custom"}),
        ("GET", "keys", None),
        ("POST", "keys", {"tenant": "globex", "scopes": ["read"]}),
        ("GET", "keys/{id}", key),
        ("PATCH", "keys/{id}", {"note": "new"}),
        ("POST", "keys/{id}/rotate", {"grace": 60}),
        ("DELETE", "keys/{id}", key),
        ("GET", "audit", None),
    ]
    for method, path, body in asked:
        filled = path.replace("{id}", "acme" if path.startswith("tenants") else key)
        answer = await world.request(method, filled, json=body)
        responses = document["paths"][f"/admin/v1/{path}"][method.lower()]["responses"]
        assert str(answer.status_code) in responses, (method, path, answer.text)
        schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})


# --- tenants


async def test_a_tenant_is_added_changed_and_suspended(world):
    added = await world.post("tenants", {"id": "globex", "tier": "dedicated"})
    assert added.status_code == 201
    assert added.json()["settings"]["tier"] == "dedicated"
    assert added.json()["changed"] == {"tier": "dedicated"}
    suspended = await world.patch("tenants/globex", {"suspended": True, "tier": None})
    assert suspended.json()["changed"] == {"suspended": True}
    assert (await world.get("tenants/globex")).json() == suspended.json()


async def test_tenants_are_listed_in_pages(world):
    for tenant in ("b", "c", "d", "e"):
        create_tenant(world.where, tenant)
    found, query = [], {"limit": 2}
    while True:
        page = (await world.get("tenants", params=query)).json()
        found += [tenant["id"] for tenant in page["tenants"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == ["acme", "b", "c", "d", "e"]


REFUSED = {
    "no_tenant": ("GET", "tenants/nobody", None, 404, "tenant_not_found", None),
    "no_tenant_to_change": ("PATCH", "tenants/nobody", {}, 404, "tenant_not_found", None),
    "an_id_in_capitals": ("GET", "tenants/ACME", None, 404, "tenant_not_found", None),
    "an_id_that_cannot_be": ("GET", "tenants/%00", None, 404, "not_found", None),
    "twice": ("POST", "tenants", {"id": "acme"}, 409, "tenant_exists", None),
    "no_id": ("POST", "tenants", {}, 422, "validation_failed", "/id"),
    "bad_id": ("POST", "tenants", {"id": "A/B"}, 422, "validation_failed", "/id"),
    "no_id_for_all": ("POST", "tenants", {"id": ""}, 422, "validation_failed", "/id"),
    "no_tier": ("PATCH", "tenants/acme", {"tier": "x"}, 422, "validation_failed", "/tier"),
    "no_setting": ("PATCH", "tenants/acme", {"a~b": 1}, 422, "validation_failed", "/a~0b"),
    "another_id": ("PATCH", "tenants/acme", {"id": "b"}, 422, "validation_failed", "/id"),
    "a_list": ("PATCH", "tenants/acme", [], 422, "validation_failed", ""),
    "nul": ("POST", "keys", {"tenant": "acme", "note": "\0"}, 422, "validation_failed", ""),
    "no_key": ("GET", "keys/abc", None, 404, "key_not_found", None),
    "no_key_to_revoke": ("DELETE", "keys/abc", None, 404, "key_not_found", None),
    "a_key_that_cannot_be": ("GET", "keys/%00", None, 404, "not_found", None),
    "key_of_nobody": ("POST", "keys", {"tenant": "nobody"}, 404, "tenant_not_found", None),
    "key_for_nothing": (
        "POST", "keys", {"tenant": "acme", "scopes": ["fly"]}, 422, "validation_failed",
        "/scopes/0",
    ),
    "key_without_scopes": (
        "POST", "keys", {"tenant": "acme", "scopes": []}, 422, "validation_failed", "/scopes",
    ),
    "key_of_the_past": (
        "POST", "keys", {"tenant": "acme", "expires_at": "2020-01-01T00:00:00Z"}, 422,
        "validation_failed", "/expires_at",
    ),
    "key_for_ever": (
        "POST", "keys", {"tenant": "acme", "expires_at": "9999-12-31T23:59:59-12:00"}, 422,
        "validation_failed", "/expires_at",
    ),
    "time_without_a_zone": (
        "POST", "keys", {"tenant": "acme", "expires_at": "2030-01-01T00:00:00"}, 422,
        "validation_failed", "/expires_at",
    ),
    "long_note": (
        "POST", "keys", {"tenant": "acme", "note": "x" * 201}, 422, "validation_failed", "/note",
    ),
    "long_grace": (
        "POST", "keys/abc/rotate", {"grace": 1e300}, 422, "validation_failed", "/grace",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "pointer"), REFUSED.values(), ids=REFUSED
)
async def test_what_is_wrong_is_said_and_changes_nothing(
    world, method, path, body, status, code, pointer
):
    before = await world.lines()
    answer = await world.request(method, path, json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    if pointer is not None:
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert await world.lines() == before


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("tenants", {"limit": 0}, "out_of_range"),
        ("tenants", {"limit": "x"}, "wrong_type"),
        ("tenants", {"colour": "red"}, "unknown_parameter"),
        ("tenants", {"cursor": "\0"}, "nul_character"),
        ("keys", {"tenant": ["a", "b"]}, "repeated_parameter"),
        ("keys", {"tenant": "A B"}, "invalid_value"),
        ("audit", {"cursor": "0"}, "out_of_range"),
    ],
)
async def test_a_wrong_parameter_is_named(world, path, query, code):
    answer = await world.get(path, params=query)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["code"], error["parameter"]) == (code, next(iter(query)))


@pytest.mark.parametrize("cursor", ["x", "~", "2026-01-01T00:00:00~ab", "2026-01-01T00:00:00Z~\t"])
async def test_a_cursor_that_no_page_gave_is_refused(world, cursor):
    answer = await world.get("keys", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


async def test_every_problem_has_its_page(world):
    for code, kind in OPERATOR_PROBLEMS.items():
        assert kind.title in (await world.get(f"problems/{code}")).text


# --- keys


async def test_a_key_is_shown_once_and_works(world):
    made = (await world.post("keys", {"tenant": "acme", "note": "shop"})).json()
    principal = world.authenticate(made["key"])
    assert principal.tenant == "acme"
    assert (principal.scopes, principal.mode) == (EVERYTHING, Mode.LIVE)
    shown = (await world.get(f"keys/{made['made']['id']}")).text
    listed = (await world.get("keys")).text
    told = (await world.get("audit")).text
    assert made["key"].split("_", 2)[2] not in shown + listed + told


async def test_a_key_is_made_as_it_is_wanted(world):
    expires_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"tenant": "acme", "mode": "test", "scopes": ["read"], "expires_at": expires_at}
    made = (await world.post("keys", body)).json()
    assert made["key"].startswith("hk_test_")
    principal = world.authenticate(made["key"])
    assert (principal.scopes, principal.mode) == ({Scope.READ}, Mode.TEST)
    assert datetime.fromisoformat(made["made"]["expires_at"]) == pytest.approx(
        datetime.fromisoformat(expires_at), abs=timedelta(milliseconds=1)
    )


async def test_a_key_is_rotated_with_a_days_grace_if_nothing_is_said(world):
    old = create_key(world.where, "acme", "shop", scopes=frozenset({Scope.SEND}))
    answer = await world.request("POST", f"keys/{key_id_of(old)}/rotate")
    assert answer.status_code == 201
    made = answer.json()
    assert made["replaced"]["replaced_by"] == made["made"]["id"]
    left = datetime.fromisoformat(made["replaced"]["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(days=1)
    assert world.authenticate(old).scopes == world.authenticate(made["key"]).scopes


async def test_a_key_without_grace_ends_at_once(world):
    old = create_key(world.where, "acme")
    made = (await world.post(f"keys/{key_id_of(old)}/rotate", {"grace": 0})).json()
    assert world.authenticate(old) is None
    assert world.authenticate(made["key"]) is not None
    again = await world.post(f"keys/{key_id_of(old)}/rotate", {})
    assert (again.status_code, again.json()["code"]) == (409, "key_ended")


async def test_a_revoked_key_opens_nothing_and_cannot_be_changed(world):
    key = create_key(world.where, "acme")
    for _ in range(2):
        answer = await world.request("DELETE", f"keys/{key_id_of(key)}")
        assert answer.json()["revoked_at"]
    assert world.authenticate(key) is None
    changed = await world.patch(f"keys/{key_id_of(key)}", {"scopes": ["read"]})
    assert (changed.status_code, changed.json()["code"]) == (409, "key_ended")


async def test_a_change_of_a_key_keeps_what_is_left_out(world):
    key = create_key(world.where, "acme", "shop", scopes=frozenset({Scope.SEND}))
    changed = await world.patch(f"keys/{key_id_of(key)}", {"scopes": ["read", "usage:read"]})
    assert changed.json()["note"] == "shop"
    assert world.authenticate(key).scopes == {Scope.READ, Scope.USAGE}


async def test_keys_are_listed_in_pages_of_one_tenant_or_of_all(world):
    create_tenant(world.where, "globex")
    for tenant in ("acme", "globex") * 3:
        create_key(world.where, tenant)
    for tenant, size in ((None, 6), ("acme", 3), ("nobody", 0)):
        found, query = [], {"limit": 2} | ({"tenant": tenant} if tenant else {})
        while True:
            page = (await world.get("keys", params=query)).json()
            found += page["keys"]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert len({key["id"] for key in found}) == len(found) == size
        assert {key["tenant"] for key in found} <= ({tenant} if tenant else {"acme", "globex"})


# --- the audit log


async def test_every_change_names_who_made_it(world):
    named = {"hermes-operator": "anna@ops"}
    await world.post("tenants", {"id": "globex"}, headers=named)
    await world.patch("tenants/globex", {"suspended": True})
    made = (await world.post("keys", {"tenant": "globex"}, headers=named)).json()
    await world.request("DELETE", f"keys/{made['made']['id']}", headers=named)
    lines = await world.lines(tenant="globex")
    assert [(line["actor"], line["action"]) for line in lines] == [
        ("operator:anna@ops", "key.revoke"),
        ("operator:anna@ops", "key.create"),
        ("operator", "tenant.change"),
        ("operator:anna@ops", "tenant.create"),
    ]
    assert lines[2]["detail"] == {"before": {"suspended": False}, "after": {"suspended": True}}


@pytest.mark.parametrize("name", ["", "x" * 65, "a\tb"])
async def test_a_name_that_cannot_stand_in_the_log_is_refused(world, name):
    before = await world.lines()
    answer = await world.patch(
        "tenants/acme", {"tier": "custom"}, headers={"hermes-operator": name}
    )
    assert answer.status_code == 422
    assert await world.lines() == before


async def test_the_log_is_read_in_pages_and_has_no_other_way_in(world):
    for tier in ("custom", "shared", "dedicated", "custom"):
        await world.patch("tenants/acme", {"tier": tier})
    every = await world.lines()
    first = (await world.get("audit", params={"limit": 3})).json()
    rest = await world.lines(cursor=first["next_cursor"])
    assert first["entries"] + rest == every
    assert len(every) == 5
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await world.request(method, "audit", json={})).status_code == 405
