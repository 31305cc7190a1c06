"""The tenants' door: the REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.restate.ingress import RestateIngress
from adapters.smpp.flow.pressure import PoolPressure
from adapters.store.message_log import SqliteMessageLog
from adapters.store.tenants import SqliteKeyRing
from adapters.wasm.choice import ByPriority
from handlers.api.app import create_app
from handlers.api.services import utc_now
from handlers.webhooks.routes import Webhooks
from infra.operator_key import operator_key
from infra.processes.adapters import adapters, lifecycle, metrics
from infra.processes.serving import AsgiApp, beside, main
from infra.settings import Settings


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The API's application with everything that it uses."""
    log = SqliteMessageLog(settings.message_log)
    keys = SqliteKeyRing(settings.message_log)
    engine = RestateIngress(settings.restate.ingress)
    pressure = PoolPressure(
        settings.pool_urls, operator_key(settings), longest=settings.backpressure.queue_wait
    )
    try:
        async with (
            adapters(settings, checks=False) as ours,
            lifecycle(settings, ours.host) as changes,
        ):
            webhooks = Webhooks(
                ours.registry, engine, settings.webhooks_url, ours.reference_key, utc_now
            )
            app = create_app(
                keys,
                log,
                engine,
                allow_private_callbacks=settings.callbacks.allow_private_addresses,
                pressure=pressure,
                providers=ByPriority(ours.registry),
                webhooks=webhooks,
                adapters=changes,
            )
            yield beside(app, metrics(settings, ours, webhooks.seen))
    finally:
        await pressure.close()
        await engine.close()
        keys.close()
        await log.close()


if __name__ == "__main__":
    main("api", api, lambda settings: settings.api, http="1.1")
