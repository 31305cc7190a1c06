"""The bind pool: SMPP connections, the SMS delivery service in front of them, and the admin API.

On SQLite exactly one process has the journal. On PostgreSQL several share one: each has binds of
its own, a receipt may come on any of them, and Restate may call whichever it reaches.

It is registered with Restate for HTTP/1.1: its handlers wait for nothing of Restate's, and one
request and one answer cost the process 0.3 ms of CPU less than a stream over HTTP/2, and half of
the rest again without the SDK's context.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal

import restate

from adapters.billing.lists import PriceLists
from adapters.restate.ingress import RestateIngress
from adapters.restate.stepless import stepless
from adapters.smpp.carriers.operations import CarrierOperations
from adapters.smpp.correlator import Correlator
from adapters.smpp.inbound.inbound import Inbound
from adapters.smpp.pool import BindPool
from adapters.smpp.store.journal import Journal
from adapters.store.sections import Sections
from adapters.telemetry.billing import LedgerTelemetry
from domain.delivery import DeliveryRequest, Submission
from handlers.delivery.door import delivery_door
from handlers.delivery.sms import create_sms_delivery
from infra.operator_key import door_key, operator_key
from infra.processes.billing import charging
from infra.processes.routing import pool_routing
from infra.processes.serving import AsgiApp, beside, main
from infra.settings import Settings, inbound_routes

_ADMIN_PATHS: Final = ("/admin/", "/metrics")


@asynccontextmanager
async def pool(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The pool's application, with its carriers being dialed."""
    key = operator_key(settings)
    ingress = RestateIngress(*settings.restate.ingresses)
    journal = Journal(settings.smpp_journal)
    correlator = Correlator(journal, ingress)
    await correlator.recover()

    def alphabet(carrier: str) -> Literal["gsm7", "latin1"]:
        config = operations.config(carrier)
        return "gsm7" if config is None else config.default_alphabet

    inbound = Inbound(
        journal,
        ingress,
        inbound_routes(settings.inbound),
        alphabet=alphabet,
        timeout=settings.inbound_timeout,
    )
    stack = AsyncExitStack()
    sections = Sections(settings.database)
    stack.callback(sections.close)
    prices = PriceLists(sections)
    ledger = LedgerTelemetry()
    charges = await stack.enter_async_context(charging(settings, prices, ledger))
    router = await stack.enter_async_context(pool_routing(settings, sections, prices))

    def carriers(request: DeliveryRequest) -> tuple[str, ...]:
        return binds.choice.providers(request.provider)

    def candidates(request: DeliveryRequest) -> tuple[str, ...]:
        return tuple(carrier.name for carrier in binds.choice.choose(request).carriers)

    async def refused(request: DeliveryRequest, refusal: Submission) -> Submission:
        return await binds.begun_before(request) or refusal

    binds = BindPool(
        (),
        journal,
        correlator,
        on_inbound=inbound.on_deliver,
        routing=router,
        around=charges.around("sms", carriers, refused, candidates),
    )
    operations = CarrierOperations(binds.mesh, journal, settings.carriers)
    await operations.load()
    await inbound.recover()
    await operations.start()

    def admin() -> AsgiApp:
        # Imports that neither a bind nor the first message should wait for.
        from adapters.telemetry.carriers import CarrierCollector, PoolGauges
        from adapters.telemetry.exposition import Metrics
        from adapters.telemetry.routes import RouteCollector
        from handlers.admin.app import AdminApi

        gauges = PoolGauges(
            carriers=lambda: [carrier.health() for carrier in binds.mesh.carriers],
            queues=binds.queues,
            unmatched=lambda: correlator.unmatched,
            lag=lambda: binds.lag,
        )
        metrics = Metrics(
            CarrierCollector(gauges), RouteCollector(binds.choice.chosen, router.quality), ledger
        )
        return AdminApi(operations, binds, correlator, metrics, key).app

    admin_app = asyncio.ensure_future(asyncio.to_thread(admin))
    try:
        services = [create_sms_delivery(binds)]
        keys = list(settings.restate.identity_keys)
        delivery = stepless(restate.app(services, identity_keys=keys), services, keys)
        served = delivery_door(delivery, binds, door_key(settings))
        yield beside(served, admin_app, _ADMIN_PATHS)
    finally:
        await asyncio.gather(admin_app, return_exceptions=True)
        await operations.close()
        await binds.close()
        await stack.aclose()
        await correlator.close()
        await inbound.close()
        await journal.close()
        await ingress.close()


if __name__ == "__main__":
    main("pool", pool, lambda settings: settings.pool, http="1.1")
