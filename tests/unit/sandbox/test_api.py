"""What a test key can do at the API: what a live key can, to nobody's harm."""

from __future__ import annotations

import httpx
import pytest

from domain.mode import Mode
from domain.ports import Principal
from domain.tenancy import EVERYTHING, OF_TEST_KEYS, Scope
from handlers.api.app import create_app
from handlers.api.door import require
from handlers.api.problems import Problem
from handlers.api.services import Limits
from tests.fakes import FakeClock, FakeEngine, FakeLog

LIVE, TEST = "live-key", "test-key"
MESSAGE = {"to": {"sms": "+4520123456"}, "content": {"text": "Hello"}}


class Keys:
    """Two keys of one tenant."""

    def authenticate(self, presented: str) -> Principal | None:
        mode = {LIVE: Mode.LIVE, TEST: Mode.TEST}.get(presented)
        return None if mode is None else Principal("acme", presented, EVERYTHING, mode)


class World:
    def __init__(self, client, log, engine):
        self.client, self.log, self.engine = client, log, engine

    async def ask(self, key, method, path, **options):
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def send(self, key, body=MESSAGE, **headers):
        return await self.ask(key, "POST", "/v1/messages", json=body, headers=headers)


@pytest.fixture
async def world():
    log, engine = FakeLog(), FakeEngine()
    limits = Limits(repeat_patience=0.05, probe_timeout=0.05)
    app = create_app(Keys(), log, engine, clock=FakeClock(), limits=limits)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        yield World(client, log, engine)


@pytest.mark.parametrize(("key", "mode"), [(LIVE, Mode.LIVE), (TEST, Mode.TEST)])
async def test_the_key_decides_where_a_message_goes(world, key, mode):
    answer = (await world.send(key)).json()
    assert answer["mode"] == mode.value
    assert world.engine.held[answer["id"]].mode is mode


async def test_nothing_in_a_request_makes_a_test_message_live(world):
    refused = await world.send(TEST, {**MESSAGE, "mode": "live"})
    assert refused.status_code == 422
    assert not world.engine.held


async def test_a_batch_of_a_test_key_is_a_test(world):
    answer = await world.ask(TEST, "POST", "/v1/messages/batch", json={"messages": [MESSAGE] * 2})
    assert {order.mode for order in world.engine.held.values()} == {Mode.TEST}
    assert {each["message"]["mode"] for each in answer.json()["results"]} == {"test"}


async def test_an_idempotency_key_means_one_message_in_each_mode(world):
    header = {"Idempotency-Key": "order-7"}
    live, test = await world.send(LIVE, **header), await world.send(TEST, **header)
    assert live.status_code == test.status_code == 202
    assert live.json()["id"] != test.json()["id"]
    assert (await world.send(TEST, **header)).json()["id"] == test.json()["id"]


async def test_a_channel_without_any_provider_can_be_tried(world):
    push = {"to": {"push": "delivered:token"}, "content": {"text": "Hello"}}
    assert (await world.send(LIVE, push)).status_code == 422
    assert (await world.send(TEST, push)).status_code == 202


async def test_a_provider_that_is_not_there_is_refused_as_ever(world):
    plan = [{"channel": "push", "provider": "nobody"}]
    push = {"to": {"push": "delivered:token"}, "content": {"text": "Hello"}, "plan": plan}
    answer = await world.send(TEST, push)
    assert answer.json()["errors"][0]["code"] == "no_provider_for_channel"


SEES = {
    # whose message, who looks, and what it is told
    "a live key its own": (LIVE, LIVE, 200),
    "a live key a test message": (TEST, LIVE, 200),
    "a test key its own": (TEST, TEST, 200),
    "a test key a live message": (LIVE, TEST, 404),
}


@pytest.mark.parametrize(("sender", "reader", "status"), SEES.values(), ids=SEES)
async def test_who_may_look(world, sender, reader, status):
    message = (await world.send(sender)).json()["id"]
    path = f"/v1/messages/{message}"
    looked = await world.ask(reader, "GET", path)
    assert looked.status_code == status
    withdrawn = await world.ask(reader, "DELETE", path)
    assert withdrawn.status_code == (202 if status == 200 else 404)
    if status == 404:
        nothing = "/v1/messages/msg_01JG3T5C8VE7Q9X2B4N6M8P0RS"
        assert looked.json() == (await world.ask(reader, "GET", nothing)).json()


LISTS = {
    # who lists, which mode is asked for, and which are listed
    "a live key": (LIVE, "", {"live"}),
    "a live key that asks for its tests": (LIVE, "?mode=test", {"test"}),
    "a test key": (TEST, "", {"test"}),
    "a test key that says so": (TEST, "?mode=test", {"test"}),
}


@pytest.mark.parametrize(("key", "query", "modes"), LISTS.values(), ids=LISTS)
async def test_the_lists_are_two(world, key, query, modes):
    for sender in (LIVE, TEST):
        await world.send(sender)
    listed = (await world.ask(key, "GET", f"/v1/messages{query}")).json()["data"]
    assert {message["mode"] for message in listed} == modes


async def test_a_test_key_cannot_list_live_messages(world):
    refused = await world.ask(TEST, "GET", "/v1/messages?mode=live")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["parameter"] == "mode"


@pytest.mark.parametrize("scope", Scope)
def test_what_is_set_up_takes_a_live_key(scope):
    principal = Principal("acme", "k", EVERYTHING, Mode.TEST)
    if scope in OF_TEST_KEYS:
        require(principal, scope)
    else:
        with pytest.raises(Problem) as refused:
            require(principal, scope)
        assert refused.value.code == "live_key_required"


async def test_a_test_key_changes_nothing_that_is_set_up(world):
    document = (await world.client.get("/openapi.json")).json()
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            scopes = {s for each in operation["security"] for s in each.get("api_key", ())}
            if scopes <= {scope.value for scope in OF_TEST_KEYS}:
                continue
            answer = await world.ask(TEST, method.upper(), path.replace("{", "").replace("}", ""))
            assert answer.status_code == 403, (method, path)
            assert answer.json()["code"] == "live_key_required"
            tried += 1
    assert tried > 5


NAMES_PEOPLE = [
    ("GET", "/v1/suppressions"),
    ("POST", "/v1/suppressions/lookup"),
    ("GET", "/v1/suppressions/imports/imp_1"),
    ("GET", "/v1/callbacks/cbe_1/events"),
]


@pytest.mark.parametrize(("method", "path"), NAMES_PEOPLE)
async def test_a_test_key_sees_nobody_to_whom_live_messages_go(world, method, path):
    answer = await world.ask(TEST, method, path, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (403, "live_key_required")


# What may be read with a test key: test messages, and what is set up.
READ_BY_TESTS = {
    *("/v1/messages", "/v1/messages/{id}", "/v1/callbacks", "/v1/callbacks/{endpoint}"),
    *("/v1/templates", "/v1/templates/{name}", "/v1/templates/{name}/render"),
    *("/v1/templates/{name}/versions/{version}", "/v1/routes/explain", "/v1/senders"),
    *("/v1/adapters", "/v1/adapters/{name}"),
}


async def test_it_is_decided_for_every_route_whether_a_test_key_may_read_it(world):
    document = (await world.client.get("/openapi.json")).json()
    read = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["security"] and operation["security"][0]["api_key"] == ["read"]:
                named = path.replace("{", "").replace("}", "")
                answer = await world.ask(TEST, method.upper(), named)
                if answer.json().get("code") != "live_key_required":
                    read.add(path)
    assert read == READ_BY_TESTS
