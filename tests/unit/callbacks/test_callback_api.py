"""/v1/callbacks: what a tenant can do to its endpoints, and only to its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest

from adapters.callbacks.events import Health
from adapters.callbacks.sender import CallbackForbidden, CallbackRefused
from domain.callback import MAX_ENDPOINTS
from handlers.api.app import create_app
from handlers.api.callbacks import Callbacks
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.callbacks.conftest import REFUSED, TENANT, Post, an_order
from tests.waiting import eventually

KEY, OTHER = "key-of-acme", "key-of-globex"
BODY = {"url": "https://one.example", "description": "orders"}


@dataclass
class Api:
    """The API over a real store. Requests are acme's unless `key` says otherwise."""

    client: httpx.AsyncClient
    post: Post
    engine: FakeEngine
    woken: list[str]

    async def call(self, method: str, path: str = "", body: Any = None, key: str = KEY, **more):
        return await self.client.request(
            method,
            f"/v1/callbacks{path}",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            **more,
        )

    async def made(self, **body: Any) -> dict[str, Any]:
        answer = await self.call("POST", body={**BODY, **body})
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture
async def api(post: Post) -> AsyncIterator[Api]:
    woken: list[str] = []
    callbacks = Callbacks(post.endpoints, post.store, post.events, post.receivers, woken.append)
    keys = FakeKeys({KEY: TENANT, OTHER: "globex"})
    engine = FakeEngine()
    app = create_app(keys, FakeLog(), engine, callbacks=callbacks)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        yield Api(client, post, engine, woken)


async def test_a_secret_is_shown_once(api: Api):
    made = await api.made()
    assert made["secret"].startswith("whsec_")
    shown = (await api.call("GET", f"/{made['id']}")).json()
    listed = (await api.call("GET")).json()["data"]
    assert "secret" not in shown
    assert listed == [shown]
    rotated = (await api.call("POST", f"/{made['id']}/rotate", {"grace": 60})).json()
    assert rotated["secret"] not in ("", made["secret"])
    assert [one["expires_at"] is None for one in rotated["secrets"]] == [True, False]
    for page in (shown, listed, rotated["secrets"]):
        assert made["secret"] not in msgspec.json.encode(page).decode()


async def test_an_endpoint_is_told_ends_unless_it_says_otherwise(api: Api):
    ends = [f"message.{s}" for s in ("sent", "delivered", "failed", "expired", "canceled")]
    assert (await api.made())["events"] == ends
    assert (await api.made(events=["message.submitted"]))["events"] == ["message.submitted"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"url": "http://one.example"}, "/url", "invalid_callback_url"),
        ({"url": "https://127.0.0.1/"}, "/url", "invalid_callback_url"),
        ({"url": "https://localhost/"}, "/url", "invalid_callback_url"),
        ({"url": ""}, "/url", "too_short"),
        ({}, "/url", "required"),
        ({**BODY, "events": []}, "/events", "too_short"),
        ({**BODY, "events": ["message.read"]}, "/events/0", "unknown_value"),
        ({**BODY, "description": "x" * 201}, "/description", "too_long"),
        ({**BODY, "secret": "mine"}, "/secret", "unknown_field"),
    ],
)
async def test_what_is_refused(api: Api, body: dict[str, Any], pointer: str, code: str):
    answer = await api.call("POST", body=body)
    assert answer.status_code == 422
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]
    assert (await api.call("GET")).json()["data"] == []


async def test_a_tenant_has_a_bounded_number_of_endpoints(api: Api):
    for _ in range(MAX_ENDPOINTS):
        await api.made()
    answer = await api.call("POST", body=BODY)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_callbacks")


OPERATIONS = [
    ("GET", "", None),
    ("PATCH", "", {"enabled": False}),
    ("DELETE", "", None),
    ("POST", "/rotate", None),
    ("POST", "/test", None),
    ("GET", "/events", None),
    ("POST", "/replay", {"since": "2026-01-01T00:00:00Z"}),
]


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_another_tenants_endpoint_is_as_one_that_does_not_exist(
    api: Api, method: str, path: str, body: Any
):
    made = await api.made()
    foreign = await api.call(method, f"/{made['id']}{path}", body, key=OTHER)
    missing = await api.call(method, f"/cbe_{'0' * 24}{path}", body)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content
    assert foreign.json()["code"] == "callback_not_found"
    assert (await api.call("GET", f"/{made['id']}")).json()["state"] == "well"
    assert api.post.receivers.posts == []
    assert api.woken == []


async def test_another_tenants_host_is_as_one_that_does_not_exist(api: Api):
    await api.post.end("msg_1", an_order(status_callback="https://shop.example/told"))
    [origin] = api.post.woken
    await api.post.pump.run(origin)
    [seen] = (await api.call("GET")).json()["data"]
    assert (seen["id"], seen["kind"], seen["url"]) == (origin, "origin", "https://shop.example")
    assert (await api.call("GET", f"/{origin}")).json() == seen
    assert (await api.call("GET", key=OTHER)).json()["data"] == []
    assert (await api.call("GET", f"/{origin}", key=OTHER)).status_code == 404
    for method, path, body in OPERATIONS[1:5]:
        assert (await api.call(method, f"/{origin}{path}", body)).status_code == 404


async def test_hosts_are_listed_a_page_at_a_time(api: Api):
    made = await api.made()
    hosts = {f"cbo_{number:024}": f"https://{number}.shop.example" for number in range(5)}
    for name, address in hosts.items():
        await api.post.events.note_health(name, TENANT, address, Health(delivered_at=1.0))
    await api.post.events.note_health(f"cbo_{'9' * 24}", "globex", "https://x.example", Health())
    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["next_cursor"] is not None:
        params = {"limit": 2} | ({"cursor": pages[-1]["next_cursor"]} if pages else {})
        pages.append((await api.call("GET", params=params)).json())
    assert [len(page["data"]) for page in pages] == [1 + 2, 2, 1]
    first, *found = [one for page in pages for one in page["data"]]
    assert first["id"] == made["id"]
    assert {one["id"]: one["url"] for one in found} == hosts


async def test_one_host_is_looked_up_without_the_others(api: Api, monkeypatch):
    name = f"cbo_{'1' * 24}"
    await api.post.events.note_health(name, TENANT, "https://shop.example", Health())

    async def refused(*args: object) -> list[tuple[str, str]]:
        raise AssertionError("all hosts are read")

    monkeypatch.setattr(api.post.events, "hosts", refused)
    for path in ("", "/events"):
        assert (await api.call("GET", f"/{name}{path}")).status_code == 200


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"limit": "0"}, 422, "out_of_range"),
        ({"limit": "501"}, 422, "out_of_range"),
        ({"state": "waiting"}, 422, "unknown_parameter"),
        ({"cursor": "x"}, 400, "invalid_cursor"),
        ({"cursor": f"cbe_{'1' * 24}"}, 400, "invalid_cursor"),
    ],
)
async def test_what_the_list_of_endpoints_is_not_asked_for(
    api: Api, params: dict[str, str], status: int, code: str
):
    answer = await api.call("GET", params=params)
    assert answer.status_code == status
    problem = answer.json()
    assert code in {problem["code"], *(error["code"] for error in problem.get("errors", []))}


async def test_what_waits_is_seen_and_told_when_the_endpoint_is_enabled_again(api: Api):
    made = await api.made()
    disabled = (await api.call("PATCH", f"/{made['id']}", {"enabled": False})).json()
    assert (disabled["state"], disabled["disabled_because"]) == ("disabled", "by request")
    await api.post.end("msg_1")
    await api.post.pump.run(made["id"])
    seen = (await api.call("GET", f"/{made['id']}")).json()
    assert (seen["backlog"]["waiting"], seen["backlog"]["oldest"] is None) == (1, False)
    enabled = (await api.call("PATCH", f"/{made['id']}", {"enabled": True})).json()
    assert (enabled["state"], enabled["disabled_at"]) == ("well", None)
    assert api.woken == [made["id"]]
    await api.post.pump.run(made["id"])
    assert (await api.call("GET", f"/{made['id']}")).json()["backlog"]["waiting"] == 0


async def test_a_failing_endpoint_says_so(api: Api):
    made = await api.made()
    api.post.receivers.failing[BODY["url"]] = REFUSED
    await api.post.end_many(6)
    await api.post.pump.run(made["id"])
    seen = (await api.call("GET", f"/{made['id']}")).json()
    assert (seen["state"], seen["health"]["error"]) == ("down", "HTTP 500")
    assert seen["backlog"]["next_try_at"] > seen["health"]["failed_at"]
    [event] = (
        await api.call("GET", f"/{made['id']}/events", params={"state": "waiting", "limit": 1})
    ).json()["data"]
    assert (event["state"], event["error"], event["tries"]) == ("waiting", "HTTP 500", 1)


async def test_events_are_listed_newest_first_a_page_at_a_time(api: Api):
    made = await api.made()
    await api.post.end_many(5)
    path, found, cursor = f"/{made['id']}/events", [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.call("GET", path, params=params)).json()
        found += [event["id"] for event in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [f"msg_{number}.ended" for number in reversed(range(5))]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "0"}, "out_of_range"),
        ({"limit": "501"}, "out_of_range"),
        ({"limit": "x"}, "out_of_range"),
        ({"state": "lost"}, "unknown_value"),
        ({"message": "msg_1"}, "unknown_value"),
        ({"page": "2"}, "unknown_parameter"),
    ],
)
async def test_what_a_list_is_not_asked_for(api: Api, params: dict[str, str], code: str):
    made = await api.made()
    answer = await api.call("GET", f"/{made['id']}/events", params=params)
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == [code]


@pytest.mark.parametrize("cursor", ["x", "!!", "MQ==MQ", "\u00e5", "LTE", "A" * 200])
async def test_a_cursor_is_only_what_a_page_gave(api: Api, cursor: str):
    made = await api.made()
    answer = await api.call("GET", f"/{made['id']}/events", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


async def test_tests_of_endpoints_that_never_answer_hold_up_their_tenant_alone(api: Api):
    made = await api.made()
    theirs = (await api.call("POST", body={"url": "https://two.example"}, key=OTHER)).json()
    api.post.receivers.held[made["url"]] = asyncio.Event()
    slow = [asyncio.create_task(api.call("POST", f"/{made['id']}/test")) for _ in range(20)]
    await eventually(lambda: api.post.receivers.at_once.get(made["url"]))
    async with asyncio.timeout(5):
        answer = await api.call("POST", f"/{theirs['id']}/test", key=OTHER)
    assert answer.json()["delivered"]
    assert api.post.receivers.at_once[made["url"]] == 2
    api.post.receivers.held.pop(made["url"]).set()
    assert [(await one).json()["delivered"] for one in slow] == [True] * 20


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (None, (True, 200, None)),
        (CallbackRefused("HTTP 503", status=503), (False, 503, "HTTP 503")),
        (CallbackRefused("TimeoutError"), (False, None, "TimeoutError")),
        (
            CallbackForbidden("the host has an address that is not public"),
            (False, None, "the host has an address that is not public"),
        ),
    ],
)
async def test_a_test_says_what_came_of_it_and_changes_nothing(
    api: Api, refusal: Exception | None, expected: tuple[bool, int | None, str | None]
):
    made = await api.made()
    if refusal is not None:
        api.post.receivers.failing[BODY["url"]] = refusal
    answer = (await api.call("POST", f"/{made['id']}/test")).json()
    assert (answer["delivered"], answer["status"], answer["error"]) == expected
    assert api.post.receivers.signed_with == [(made["secret"],)]
    seen = (await api.call("GET", f"/{made['id']}")).json()
    assert (seen["state"], seen["backlog"]["waiting"]) == ("well", 0)


async def test_a_replay_lets_events_wait_again(api: Api):
    made = await api.made()
    for name in ("msg_1", "msg_2"):
        await api.post.end(name)
    await api.post.pump.run(made["id"])
    path = f"/{made['id']}/replay"
    assert (await api.call("POST", path, {})).status_code == 422
    one = await api.call("POST", path, {"event": "msg_1.ended"})
    assert one.json() == {"replayed": 1, "more": False}
    assert api.woken == [made["id"]]
    await api.post.pump.run(made["id"])
    since = {"since": "2026-01-01T00:00:00Z", "state": "delivered"}
    assert (await api.call("POST", path, since)).json()["replayed"] == 2
    none = await api.call("POST", path, {"since": "2999-01-01T00:00:00Z"})
    assert none.json()["replayed"] == 0


async def test_messages_tell_their_way_only_where_somebody_follows(api: Api):
    async def order_of_a_new_message() -> Any:
        answer = await api.client.post(
            "/v1/messages",
            json={"to": {"sms": "+4520123456"}, "content": {"text": "Hi"}},
            headers={"Authorization": f"Bearer {KEY}"},
        )
        return api.engine.held[answer.json()["id"]]

    assert (await order_of_a_new_message()).tell == ()
    await api.made()
    assert (await order_of_a_new_message()).tell == ()
    await api.made(events=["message.attempt_failed", "message.submitted"])
    assert (await order_of_a_new_message()).tell == ("message.submitted", "message.attempt_failed")


async def test_a_removed_endpoint_is_gone(api: Api):
    made = await api.made()
    await api.post.end("msg_1")
    assert (await api.call("DELETE", f"/{made['id']}")).json() == {
        "id": made["id"],
        "removed": True,
    }
    assert (await api.call("GET", f"/{made['id']}")).status_code == 404
    await asyncio.gather(*(api.post.pump.run(name) for name in api.woken))
    assert api.post.receivers.posts == []
