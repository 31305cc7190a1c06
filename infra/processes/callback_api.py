"""Callbacks to tenants, as the API lets them be changed. Apart from how they are told: the endpoint
starts a fifth sooner without the API's framework."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.callbacks.endpoints import EndpointStore, follow
from adapters.callbacks.events import EventStore
from adapters.callbacks.sender import CallbackSender
from adapters.callbacks.waker import Waker
from adapters.restate.ingress import RestateIngress
from adapters.store.sections import Sections
from handlers.api.callbacks import Callbacks
from infra.processes.callbacks import sealer
from infra.settings import Settings


@asynccontextmanager
async def managing(
    settings: Settings, sections: Sections, ingress: RestateIngress
) -> AsyncIterator[Callbacks]:
    """The tenants' changes to their endpoints."""
    sealed_with = sealer(settings)
    endpoints = follow(sections, sealed_with)
    events = EventStore(settings.database)
    sender = CallbackSender(
        settings.database, allow_private=settings.callbacks.allow_private_addresses
    )
    waker = Waker(ingress.wake_callbacks)
    try:
        yield Callbacks(
            endpoints,
            EndpointStore(settings.database, sealed_with),
            events,
            sender,
            waker,
            settings.callbacks.allow_private_addresses,
        )
    finally:
        await waker.close()
        await sender.close()
        await events.close()
