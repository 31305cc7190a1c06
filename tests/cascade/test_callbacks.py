"""What a message tells its tenant's endpoints on its way, however often its handler is replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web

from adapters.callbacks.endpoints import EndpointStore
from domain.callback import ENDS, CallbackEvent, EventType, MessageEnded, StatusCallback
from domain.failures import FailureCode
from domain.message import Level
from domain.timeline import Status
from tests.cascade.channels import failed, taken
from tests.cascade.world import TENANT, Cascade, email, order, receipt, sms
from tests.waiting import eventually

TELL = (EventType.SUBMITTED.value, EventType.ATTEMPT_FAILED.value)


@dataclass
class Listener:
    """A tenant's endpoint: what it heard, and how often it still fails."""

    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    failures: int = 0
    url: str = ""

    async def hear(self, request: web.Request) -> web.Response:
        if self.failures:
            self.failures -= 1
            return web.Response(status=500)
        self.heard.append(
            (request.headers["webhook-id"], msgspec.json.decode(await request.read()))
        )
        return web.Response()

    def about(self, message: str) -> list[str]:
        """The types of what was heard about a message, in order."""
        return [event["type"] for _, event in self.heard if event["data"]["id"] == message]


@pytest.fixture
async def listener(stage: Any) -> AsyncIterator[Listener]:
    """An endpoint that follows everything, for as long as a scenario takes."""
    made = Listener()
    server = web.Application()
    server.router.add_post("/told", made.hear)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/told"
    store = EndpointStore(stage.backstage.database, stage.backstage.sealer)
    everything = ENDS | {EventType(name) for name in TELL} | {EventType.LATE_RECEIPT}
    endpoint, _ = await asyncio.to_thread(store.create, TENANT, url, everything, "", "test")
    await eventually(lambda: stage.backstage.knows(endpoint.id))
    yield made
    await asyncio.to_thread(store.remove, TENANT, endpoint.id, "test")
    await eventually(lambda: not stage.backstage.knows(endpoint.id))
    await runner.cleanup()


async def test_the_way_is_told_in_order_and_once(cascade: Cascade, listener: Listener):
    message = await cascade.send(
        order(sms(), email(), tell=TELL), failed(FailureCode.RECIPIENT_INVALID), taken(Level.SENT)
    )
    await cascade.ended(message)
    expected = ["message.attempt_failed", "message.submitted", "message.sent"]
    await eventually(lambda: len(listener.about(message)) >= 3)
    assert listener.about(message) == expected
    ids = [name for name, event in listener.heard if event["data"]["id"] == message]
    assert len(set(ids)) == 3


async def test_what_a_message_waits_for_is_told_before(cascade: Cascade, listener: Listener):
    message = await cascade.send(order(sms(), tell=TELL), taken())
    await cascade.submitted(message)
    await eventually(lambda: listener.about(message) == ["message.submitted"])
    await cascade.resolve(message, receipt(Level.DELIVERED))
    await cascade.ended(message)
    await eventually(lambda: listener.about(message) == ["message.submitted", "message.delivered"])


async def test_only_the_end_is_told_of_a_message_that_nobody_follows(
    cascade: Cascade, listener: Listener
):
    message = await cascade.send(order(sms()), taken())
    await cascade.resolve(message, receipt(Level.DELIVERED))
    await cascade.ended(message)
    await eventually(lambda: listener.about(message))
    assert listener.about(message) == ["message.delivered"]


async def test_a_receipt_after_the_end_is_told(cascade: Cascade, listener: Listener):
    message = await cascade.send(order(sms(timeout=0.5)), taken())
    await cascade.ended(message)
    late = receipt(Level.DELIVERED, name="late")
    for _ in range(2):
        await cascade.post("call", message, "receipt", late)
    await cascade.late(message)
    await eventually(lambda: len(listener.about(message)) >= 2)
    assert listener.about(message) == ["message.failed", "message.late_receipt"]


async def test_an_endpoint_that_fails_is_told_by_the_objects_own_timer(
    cascade: Cascade, listener: Listener
):
    listener.failures = 1
    message = await cascade.send(order(email(), tell=TELL), taken(Level.SENT))
    await cascade.ended(message)
    await eventually(lambda: not listener.failures)
    assert listener.about(message) == []
    await eventually(
        lambda: listener.about(message) == ["message.submitted", "message.sent"], within=15
    )
    scheduled = "SELECT id FROM sys_invocation WHERE target_service_name = 'CallbackEndpoint'"
    await eventually(lambda: not cascade.restate.query(scheduled), pause=0.05)


async def test_a_message_from_before_there_were_endpoints_is_told_once(
    cascade: Cascade, listener: Listener
):
    now = datetime.now(UTC)
    callback = StatusCallback(
        "msg_old.ended",
        TENANT,
        listener.url,
        CallbackEvent("message.sent", now, MessageEnded("msg_old", Status.SENT)),
    )
    url = f"{cascade.restate.ingress}/restate/send/OlderMessages/end"
    for _ in range(2):
        body = msgspec.json.encode(callback)
        answer = await cascade.http.post(
            url, content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 202
    await eventually(lambda: listener.about("msg_old"))
    waiting = "SELECT id FROM sys_invocation WHERE status != 'completed'"
    await eventually(lambda: not cascade.restate.query(waiting), pause=0.05)
    assert listener.about("msg_old") == ["message.sent"]
