"""Callbacks to tenants, as the endpoint tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.callbacks.endpoints import EndpointStore, follow
from adapters.callbacks.events import EventStore
from adapters.callbacks.outbox import Outbox
from adapters.callbacks.pump import Pump
from adapters.callbacks.sender import CallbackSender
from adapters.callbacks.waker import Waker, sweep
from adapters.restate.ingress import RestateIngress
from adapters.store.sections import Sections
from adapters.telemetry.callbacks import CallbackTelemetry
from adapters.wasm.store.registry import SECRETS_KEY
from adapters.wasm.store.sealing import Sealer, load_key
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Telling:
    """What the handlers of the endpoint process need."""

    outbox: Outbox
    pump: Pump
    events: EventStore
    telemetry: CallbackTelemetry


def sealer(settings: Settings) -> Sealer:
    """What the endpoints' secrets are sealed with: the key that the adapters' are. Raises
    SecretsKeyError."""
    return load_key(settings.data_dir / SECRETS_KEY, needed=False)


@asynccontextmanager
async def telling(
    settings: Settings, sections: Sections, sender: CallbackSender
) -> AsyncIterator[Telling]:
    """Events of messages are stored, and told when Restate says so."""
    sealed_with = sealer(settings)
    endpoints = follow(sections, sealed_with)
    store = EndpointStore(settings.database, sealed_with)
    events = EventStore(settings.database, linger=0.05)
    ingress = RestateIngress(*settings.restate.ingresses)

    async def disable(endpoint: str, because: str) -> None:
        await asyncio.to_thread(store.disable, endpoint, because)

    telemetry = CallbackTelemetry(endpoints)
    pump = Pump(events, endpoints, sender, disable, told=telemetry.told)
    waker = Waker(ingress.wake_callbacks, pump.look_again)
    sweeping = asyncio.create_task(sweep(events, endpoints, waker, seen=telemetry.wait))
    try:
        yield Telling(Outbox(endpoints, waker), pump, events, telemetry)
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await waker.close()
        await ingress.close()
        await events.close()
