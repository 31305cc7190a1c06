"""Restate dies, or its connection does, between a handler's return and the end of its invocation:
the journal has the return, and what led there without a step is in no journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import restate

from adapters.restate.ingress import RestateIngress
from adapters.restate.optimistic import optimistic
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from domain.failures import Failure, FailureCode
from domain.message import MessageOrder
from domain.timeline import Status
from handlers.delivery.direct import Direct
from tests.cascade.channels import ScriptedChannels, failed, taken
from tests.cascade.world import email, order, push
from tests.restate_server import AsgiApp, running_restate, served
from tests.waiting import eventually
from virtual_objects.message import create_message_object

MESSAGE = "msg_01KAQAGF95EDC9W2ET8V72YBN4"
END = b"\x00\x03" + bytes(6)
STORY = f"SELECT status FROM sys_invocation WHERE target_service_key = '{MESSAGE}'"


class NobodyBarred:
    async def refusal(self, order: MessageOrder, channel: str) -> Failure | None:
        return None


class Interrupted:
    """An application whose answers break off before their end, so many times."""

    def __init__(self, app: AsgiApp, times: int) -> None:
        self._app = app
        self._left = times

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        broken = False

        async def tell(event: dict[str, Any]) -> None:
            nonlocal broken
            body = event.get("body", b"")
            if scope["path"].endswith("/send") and body.endswith(END) and self._left:
                self._left -= 1
                broken = True
                await send({**event, "body": body.removesuffix(END), "more_body": False})
            elif not broken:
                await send(event)

        await self._app(scope, receive, tell)


@pytest.mark.parametrize("steps_before", [False, True])
async def test_a_message_whose_return_is_in_the_journal_ends(tmp_path: Path, steps_before: bool):
    channels = ScriptedChannels()
    log = SqliteMessageLog(tmp_path / "hermes.db", Places(bytes(32)))

    @asynccontextmanager
    async def application() -> AsyncIterator[AsgiApp]:
        services = channels.services()
        message = create_message_object(
            log, NobodyBarred(), Direct(services), journal_retention=timedelta(hours=1)
        )
        app = restate.app([message, *services])
        yield Interrupted(optimistic(app, message, "send", ()), times=2)

    sent, script = order(email(300), ttl=600), [taken()]
    if steps_before:
        # The second step's first try settles it, after what the first one left in the journal.
        sent = msgspec.structs.replace(sent, plan=(push(300), email(300)))
        script = [failed(FailureCode.RECIPIENT_INVALID), taken()]
    channels.scripts[MESSAGE] = script
    with (
        served(application) as endpoint,
        running_restate(tmp_path, inactivity_timeout="5s") as server,
    ):
        server.register(endpoint)
        engine = RestateIngress(server.ingress, direct=True)
        await engine.start(MESSAGE, sent, traceparent=None, repeatable=False)
        await eventually(lambda: server.query(STORY) == [{"status": "completed"}], pause=0.1)
        await engine.close()
    listed = await log.get(MESSAGE)
    await log.close()
    assert listed is not None
    assert listed.status is Status.SENT
    assert len(channels.calls[MESSAGE]) == 1 + steps_before
