"""Tells tenants' own endpoints what became of their messages.

One virtual object an endpoint, and the events as rows in the database. Why so:

- The rows are written in the commit of what they tell of, and are the backlog that a tenant looks
  at, replays, and lets wait while an endpoint is disabled. As invocations they could not be
  listed, and a million of them for a dead endpoint would each keep its own time of retrying.
- The object gives an endpoint one writer, so that the events of a message stay in order and a
  receiver that is down is tried with one event at a time; and it keeps the time of the next try,
  durably. One endpoint's wait is nobody else's: another one is another object.
- An object for each pair of endpoint and message would keep the order, too, but costs an invocation
  an event (about 1 ms of CPU); a run here tells hundreds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from restate import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    RunOptions,
    Service,
    VirtualObject,
)
from restate.serde import BytesSerde

from adapters.callbacks.events import EventStore, row_for
from adapters.restate.serde import JsonSerde
from domain.callback import CallbackEvent, StatusCallback, origin_endpoint

SERVICE: Final = "CallbackEndpoint"
CALLBACK: JsonSerde[StatusCallback] = JsonSerde(StatusCallback)
_TIME: JsonSerde[float] = JsonSerde(float)
_PAUSE: JsonSerde[float | None] = JsonSerde(float | None)
_EVENT: JsonSerde[CallbackEvent] = JsonSerde(CallbackEvent)
_NEXT: Final = "next"
_SHORTEST: Final = 0.05
"""Seconds between two runs of an endpoint that never has nothing to do."""

_RETRIES = InvocationRetryPolicy(
    initial_interval=timedelta(seconds=1),
    exponentiation_factor=2.0,
    max_interval=timedelta(minutes=1),
    max_attempts=20_000,
    on_max_attempts="pause",
)
"""Of the run itself, when the database cannot be reached: for two weeks."""


class Pump(Protocol):
    """Tells one endpoint what is due."""

    async def run(self, endpoint: str) -> float | None:
        """Seconds after which there is more to do, None when nothing waits."""


def create_callback_endpoint(pump: Pump) -> VirtualObject:
    """The object of an endpoint: its key is the endpoint's id."""
    endpoint = VirtualObject(
        SERVICE,
        inactivity_timeout=timedelta(minutes=2),
        journal_retention=timedelta(0),
        idempotency_retention=timedelta(0),
        invocation_retry_policy=_RETRIES,
    )

    @endpoint.handler(input_serde=BytesSerde())
    async def tell(ctx: ObjectContext, body: bytes) -> None:
        """Tell what is due, and come back when more will be.

        The body is empty where somebody says that something waits, and the time that it was
        planned for where the object called itself. Of several plans only the earliest counts.
        """
        planned = _TIME.deserialize(body)
        next_at = await ctx.get(_NEXT, serde=_TIME)
        if planned is not None and planned != next_at:
            return
        pause = await ctx.run_typed("tell", pump.run, RunOptions(serde=_PAUSE), ctx.key())
        if pause is None:
            if next_at is not None:
                ctx.clear(_NEXT)
            return
        now = await ctx.time()
        at = now + max(pause, _SHORTEST)
        if planned is None and next_at is not None and now < next_at <= at:
            return
        ctx.set(_NEXT, at, serde=_TIME)
        ctx.object_send(
            tell, ctx.key(), _TIME.serialize(at), send_delay=timedelta(seconds=at - now)
        )

    return endpoint


def create_status_callback(events: EventStore) -> Service:
    """The service that messages on their way since before there were endpoints hand their callback
    to: it joins the others."""
    callbacks = Service(
        "StatusCallback",
        ingress_private=True,
        inactivity_timeout=timedelta(minutes=1),
        journal_retention=timedelta(0),
        idempotency_retention=timedelta(0),
        invocation_retry_policy=_RETRIES,
    )

    @callbacks.handler(input_serde=CALLBACK)
    async def deliver(ctx: Context, callback: StatusCallback) -> None:
        """Store one callback, once for its id, and let its endpoint know."""

        async def store() -> None:
            now = callback.event.timestamp.timestamp()
            await events.add(
                row_for(
                    None,
                    event=callback.id,
                    tenant=callback.tenant,
                    message=callback.event.data.id,
                    type_=callback.event.type,
                    url=callback.url,
                    body=_EVENT.serialize(callback.event),
                    now=now,
                )
            )

        await ctx.run_typed("store it", store)
        key = origin_endpoint(callback.tenant, callback.url)
        ctx.generic_send(SERVICE, "tell", b"", key=key)

    return callbacks
