"""The tenants' door: the REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.billing.desk import BillingDesk
from adapters.billing.lists import PriceLists
from adapters.limits.quota import Quotas
from adapters.restate.ingress import RestateIngress
from adapters.routing.providers import TenantsChoice
from adapters.smpp.flow.pressure import PoolPressure
from adapters.store.directory import Directory
from adapters.store.message_log import SqliteMessageLog
from adapters.store.sections import Sections
from adapters.telemetry.billing import AccountCollector
from adapters.telemetry.refusals import refusals
from adapters.templates.store import TemplateStore
from adapters.templates.store import follow as follow_templates
from adapters.wasm.choice import ByPriority
from adapters.wasm.store.unread import SECTION as UNREAD
from adapters.wasm.store.unread import count as count_unread
from handlers.api.app import create_app
from handlers.api.refusals import counted
from handlers.api.services import utc_now
from handlers.api.templates import TemplateResource
from handlers.pipeline.dnc import Dnc
from handlers.pipeline.layers import in_order
from handlers.pipeline.rate import Rate, RateGate
from handlers.webhooks.limits import WebhookLimits
from handlers.webhooks.routes import Webhooks
from infra.operator_key import operator_key
from infra.processes.adapters import adapters, lifecycle, metrics
from infra.processes.callback_api import managing
from infra.processes.directory import PATHS
from infra.processes.directory import directory as directory_api
from infra.processes.layers import checking
from infra.processes.retention import forgetting, places
from infra.processes.routing import api_routing
from infra.processes.serving import AsgiApp, beside, main
from infra.processes.suppression import suppressing, tidying
from infra.settings import Settings

_LIST_LINGER = 0.020
"""Seconds for which the listing of a message waits for others to be written with. Restate has the
message by then and works on it; the answer to the tenant waits."""


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The API's application with everything that it uses."""
    log = SqliteMessageLog(settings.database, places(settings), linger=_LIST_LINGER)
    sections = Sections(settings.database)
    directory = Directory(settings.database, sections)
    prices = PriceLists(sections)
    suppressions = suppressing(settings, sections)
    template_store = TemplateStore(settings.database)
    templates = follow_templates(sections, template_store)
    quotas = Quotas(settings.database)
    rate = Rate(quotas)
    refused = refusals()
    engine = RestateIngress(*settings.restate.ingresses, direct=settings.restate.direct)
    pressure = PoolPressure(
        settings.pool_urls, operator_key(settings), longest=settings.backpressure.queue_wait
    )
    try:
        async with (
            tidying(suppressions),
            adapters(settings, checks=False) as ours,
            lifecycle(settings, ours.host) as changes,
            managing(settings, sections, engine) as callbacks,
            forgetting(settings, directory) as erasures,
            checking(settings, sections, log, engine) as checks,
            api_routing(settings, sections, directory, prices, ours.registry, pressure) as routing,
        ):
            unread = sections.register(UNREAD, count_unread)
            webhooks = Webhooks(
                ours.registry,
                engine,
                settings.webhooks_url,
                ours.reference_key,
                utc_now,
                WebhookLimits(lambda: unread.value),
            )
            providers = TenantsChoice(ByPriority(ours.registry), routing.router)
            app = create_app(
                directory,
                log,
                engine,
                tenants=directory,
                pressure=pressure,
                providers=providers,
                pipeline=in_order(
                    providers=providers,
                    private_callbacks=settings.callbacks.allow_private_addresses,
                    marketing_mail=settings.unsubscribing_works
                    or settings.callbacks.allow_private_addresses,
                    templates=templates,
                    dnc=Dnc(suppressions.lists, suppressions.store.hasher),
                    rate=rate,
                    senders=checks.senders,
                    dedup=checks.dedup,
                    operators=checks.operators,
                ),
                webhooks=webhooks,
                adapters=changes,
                callbacks=callbacks,
                templates=TemplateResource(templates, template_store),
                router=routing.router,
                explainer=routing.explainer,
                erasures=erasures,
                suppressions=suppressions,
                limiter=RateGate(rate, directory),
                senders=checks.senders,
                billing=BillingDesk(settings.database, prices),
                refused=counted(refused.add),
            )
            operators = directory_api(
                settings,
                metrics(
                    settings,
                    ours,
                    webhooks.seen,
                    unread,
                    more=(refused, AccountCollector(prices.all_empty)),
                ),
                suppressions,
                routing,
            )
            yield beside(app, operators, PATHS)
    finally:
        await pressure.close()
        await engine.close()
        await quotas.close()
        directory.close()
        sections.close()
        await log.close()


if __name__ == "__main__":
    main("api", api, lambda settings: settings.api, http="1.1")
