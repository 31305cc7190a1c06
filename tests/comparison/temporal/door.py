"""Hermes's way of posting a message, in front of Temporal.

    POST /v1/messages   begins a workflow; a repeated `idempotency-key` begins none
    GET  /in-flight     how many workflows run
    GET  /ended         when those ended that have ended, by id, seconds since the epoch

It authenticates nobody, checks nothing and keeps no list of its own: less than Hermes's API does.
"""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from tests.comparison.temporal.cascade import TASK_QUEUE, Cascade, Order


class Door:
    """The routes, in front of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def app(self) -> web.Application:
        """The routes as an application."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/messages", self.send),
                web.get("/in-flight", self.in_flight),
                web.get("/ended", self.ended),
            ]
        )
        return app

    async def send(self, request: web.Request) -> web.Response:
        """Begin a message's workflow; 503 while the server does not answer."""
        order = _order(request.headers.get("idempotency-key"), await request.json())
        try:
            await self._client.start_workflow(
                Cascade.run,
                order,
                id=order.message,
                task_queue=TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                # The worker beside this door takes the first task with the answer.
                request_eager_start=True,
            )
        except WorkflowAlreadyStartedError:
            pass
        except RPCError as error:
            return web.json_response({"detail": str(error)}, status=503)
        return web.json_response({"id": order.message}, status=202)

    async def in_flight(self, request: web.Request) -> web.Response:
        """Count by the server's visibility store."""
        found = await self._client.count_workflows("ExecutionStatus = 'Running'")
        return web.json_response(found.count)

    async def ended(self, request: web.Request) -> web.Response:
        """List by the server's visibility store."""
        pages = self._client.list_workflows("ExecutionStatus = 'Completed'", page_size=1000)
        ended = {each.id: each.close_time.timestamp() async for each in pages if each.close_time}
        return web.json_response(ended)


def _order(key: str | None, body: dict[str, Any]) -> Order:
    sms, email = body["plan"]
    return Order(
        message=key or uuid.uuid4().hex,
        sms=body["to"]["sms"],
        email=body["to"]["email"],
        subject=body["content"]["subject"],
        text=body["content"]["text"],
        sms_timeout=sms["timeout"],
        email_timeout=email["timeout"],
    )
