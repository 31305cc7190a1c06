"""Every route asks for a key, and a key opens one tenant's door only."""

import json

import pytest

from handlers.api.door import OPEN_PATHS, OPEN_PREFIXES
from tests.unit.api.conftest import ALICE, BOB, MESSAGE

OPEN = {
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/docs/{name}",
    "/problems",
    "/problems/{code}",
    "/v1/webhooks/{tenant}/{adapter}",  # signed by the provider: tests/unit/webhooks
    "/unsubscribe/{token}",  # the link is signed: tests/unit/suppression
}
SOMEONES_ID = "msg_01JG3T5C8VE7Q9X2B4N6M8P0RS"

REFUSED = {
    "no_header": ({}, "missing_key"),
    "basic": ({"Authorization": "Basic YTpi"}, "missing_key"),
    "no_key": ({"Authorization": "Bearer "}, "missing_key"),
    "unknown": ({"Authorization": "Bearer nobody"}, "invalid_key"),
    "not_ascii": ({"Authorization": "Bearer clé".encode()}, "invalid_key"),
    "without_end": ({"Authorization": "Bearer " + "x" * 5000}, "invalid_key"),
}


def routes(app):
    return [(method, route.path) for route in app.routes for method in route.methods]


async def test_every_route_authenticates(world):
    closed = [(method, path) for method, path in routes(world.app) if path not in OPEN]
    assert len(closed) >= 5
    for method, path in closed:
        answer = await world.request(method, path.replace("{id}", SOMEONES_ID), key=None)
        assert (answer.status_code, answer.json()["code"]) == (401, "missing_key"), path
        answer = await world.request(method, path.replace("{id}", SOMEONES_ID), key="nobody")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key"), path
    assert world.engine.calls == 0


async def test_every_route_that_names_a_message_is_scoped_to_the_tenant(world):
    message_id = (await world.post()).json()["id"]
    for method, path in routes(world.app):
        if path.startswith("/v1/messages/{id}"):
            answer = await world.request(method, path.replace("{id}", message_id), key=BOB)
            assert answer.json()["code"] == "message_not_found", (method, path)


def test_what_is_open_is_what_was_meant_to_be(world):
    paths = {path for _, path in routes(world.app)}
    opened = {path for path in paths if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES)}
    assert opened == OPEN


@pytest.mark.parametrize(("headers", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_key_is_refused(world, headers, code):
    answer = await world.request("POST", "/v1/messages", key=None, json=MESSAGE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert world.nothing_happened()


async def test_two_keys_at_once_are_refused(world):
    answer = await world.client.get(
        "/v1/messages",
        headers=[("Authorization", f"Bearer {ALICE}"), ("Authorization", f"Bearer {BOB}")],
    )
    assert answer.json()["code"] == "invalid_key"


async def test_a_revoked_key_looks_like_an_unknown_one(world):
    unknown = await world.post(key="nobody")
    del world.keys.keys[ALICE]
    revoked = await world.post(key=ALICE)
    assert (revoked.status_code, revoked.content) == (401, unknown.content)


async def test_the_scheme_may_be_written_in_any_case(world):
    headers = {"Authorization": f"bEARER {ALICE}"}
    assert (await world.get("/v1/messages", key=None, headers=headers)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("ended", [False, True], ids=["under_way", "listed_only"])
async def test_anothers_message_looks_exactly_like_none(world, method, ended):
    message_id = (await world.post()).json()["id"]
    if ended:
        world.engine.live.clear()
    theirs = await world.request(method, f"/v1/messages/{message_id}", key=BOB)
    none = await world.request(method, f"/v1/messages/{SOMEONES_ID}", key=BOB)
    garbage = await world.request(method, "/v1/messages/1%27%20or%201=1", key=BOB)
    assert (theirs.status_code, theirs.content) == (404, none.content)
    assert theirs.headers == none.headers
    assert garbage.content == none.content
    assert world.engine.canceled == []


async def test_anothers_message_looks_like_none_also_while_restate_is_down(world):
    message_id = (await world.post()).json()["id"]
    world.engine.down = True
    theirs = await world.get(f"/v1/messages/{message_id}", key=BOB)
    none = await world.get(f"/v1/messages/{SOMEONES_ID}", key=BOB)
    assert (theirs.status_code, theirs.content) == (none.status_code, none.content)


async def test_the_same_idempotency_key_of_two_tenants_makes_two_messages(world):
    headers = {"Idempotency-Key": "order-1"}
    first = await world.post(headers=headers)
    second = await world.post(headers=headers, key=BOB)
    assert first.json()["id"] != second.json()["id"]
    assert "idempotent-replayed" not in second.headers


async def test_the_listing_shows_the_tenants_own_messages(world):
    await world.post()
    assert json.loads((await world.get("/v1/messages", key=BOB)).content)["data"] == []
