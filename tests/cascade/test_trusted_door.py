"""What comes in past the API: malformed orders, repeated orders, and the callback at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web

from adapters.store.tenants import webhook_secret
from domain.ids import RANDOMNESS, fresh_id
from domain.message import Level, MessageOrder
from domain.timeline import Status
from tests.cascade.channels import taken
from tests.cascade.signature import verify
from tests.cascade.world import TENANT, Cascade, email, order, receipt, sms
from tests.waiting import eventually


def _body(sent: MessageOrder) -> dict[str, Any]:
    return msgspec.to_builtins(sent)


def _without(field: str) -> Callable[[dict[str, Any]], None]:
    return lambda body: body.pop(field)


def _with(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda body: body.update(fields)


def _step(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["plan"][0].update(fields)


MALFORMED = {
    "no plan": _without("plan"),
    "empty plan": _with(plan=[]),
    "no address": _with(to={"email": "someone@example.com"}),
    "unknown channel": _step(channel="pigeon"),
    "no time": _step(timeout=0),
    "negative time": _step(timeout=-1),
    "time that is no number": _step(timeout="soon"),
    "unknown level": _step(success="seen"),
    "unknown field": _with(colour="red"),
    "unknown policy": _with(policy="perhaps"),
    "no tenant": _without("tenant"),
    "no TTL": _without("expires_at"),
    "TTL without offset": _with(expires_at="2030-01-01T00:00:00"),
    "acceptance without offset": _with(accepted_at="2026-01-01T00:00:00"),
    "schedule without offset": _with(send_at="2030-01-01T00:00:00"),
    "schedule that is no time": _with(send_at="tomorrow"),
}


@pytest.mark.parametrize("fault", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_order_is_refused_and_leaves_nothing(
    cascade: Cascade, fault: Callable[[dict[str, Any]], None]
):
    message = fresh_id(datetime.now(UTC), os.urandom(RANDOMNESS))
    body = _body(order(sms()))
    fault(body)
    answer = await cascade.post("call", message, "send", body)
    assert answer.status_code == 400, answer.text
    assert cascade.restate.query(f"SELECT key FROM state WHERE service_key = '{message}'") == []
    assert await cascade.engine.status(message) is None
    assert await cascade.log.get(message) is None
    assert cascade.channels.calls[message] == []


@pytest.mark.parametrize("handler", ["send", "receipt"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
async def test_a_body_that_is_no_order_is_refused(cascade: Cascade, handler: str, content: bytes):
    url = f"{cascade.restate.ingress}/restate/call/Message/msg_nobody/{handler}"
    headers = {"content-type": "application/json"}
    answer = await cascade.http.post(url, content=content, headers=headers)
    assert answer.status_code == 400, answer.text


async def test_a_huge_timeout_is_the_time_to_live(cascade: Cascade):
    message = await cascade.send(order(sms(1e300), ttl=0.5))
    assert (await cascade.ended(message)).status is Status.EXPIRED


@pytest.mark.parametrize("when", ["under way", "ended"])
async def test_the_same_order_again_does_nothing(cascade: Cascade, when: str):
    sent = order(sms(), email())
    message = await cascade.send(sent, taken())
    await cascade.submitted(message)
    if when == "under way":
        # It queues behind the first, which owns the object.
        await cascade.post("send", message, "send", _body(sent))
    await cascade.resolve(message, receipt(Level.DELIVERED))
    before = await cascade.ended(message)
    answer = await cascade.post("call", message, "send", _body(sent))
    assert answer.json() == {"status": "delivered"}
    assert await cascade.ended(message) == before
    assert len(cascade.channels.calls[message]) == 1


async def test_the_callback_comes_once_signed_with_the_ending(cascade: Cascade, stage: Any):
    heard: list[tuple[dict[str, str], bytes]] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        return web.Response()

    server = web.Application()
    server.router.add_post("/told", hear)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/told"
    try:
        sent = order(sms(), status_callback=url, metadata={"order": "7"})
        message = await cascade.send(sent)
        await cascade.resolve(message, receipt(Level.DELIVERED))
        record = await cascade.ended(message)
        await eventually(lambda: heard)
        waiting = "SELECT id FROM sys_invocation WHERE target_service_name = 'CallbackEndpoint'"
        await eventually(lambda: not cascade.restate.query(waiting), pause=0.05)
    finally:
        await runner.cleanup()
    ((headers, body),) = heard
    assert headers["webhook-id"] == f"{message}.ended"
    verify(webhook_secret(stage.backstage.database, TENANT), headers, body)
    event = msgspec.json.decode(body)
    assert record.ended_at is not None
    assert datetime.fromisoformat(event.pop("timestamp")) == record.ended_at
    assert event == {
        "type": "message.delivered",
        "data": {
            "id": message,
            "status": "delivered",
            "channel": "sms",
            "level": "delivered",
            "metadata": {"order": "7"},
        },
    }


async def test_nothing_is_called_back_that_was_not_asked_for(cascade: Cascade):
    message = await cascade.send(order(email()))
    await cascade.ended(message)
    row = await cascade.log.get(message)
    assert row is not None
    assert row.callbacks == ()
    asked = await cascade.send(order(email(), status_callback="http://127.0.0.1:9/"))
    await cascade.ended(asked)
    row = await cascade.log.get(asked)
    assert row is not None
    assert [line.type for line in row.callbacks] == ["message.sent"]
