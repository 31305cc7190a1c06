"""The router of a process, with what it needs of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.billing.lists import PriceLists
from adapters.routing.explainer import Explainer
from adapters.routing.library import Routing
from adapters.routing.prices import BookPrices
from adapters.routing.providers import ProviderRouter
from adapters.routing.quality_store import SharedQuality
from adapters.routing.store import SECTION, RouteStore, load_routes, rules_of
from adapters.smpp.flow.pressure import PoolPressure
from adapters.store import tenants as tenants_of
from adapters.store.directory import Directory
from adapters.store.sections import Sections
from adapters.wasm.installed import Registry
from domain.billing.prices import PriceBook
from domain.ports import TenantDirectory
from domain.routing.quality import Quality
from domain.routing.rules import NO_RULES, RoutingRules
from domain.tenancy import Tenant
from infra.operator_key import operator_key
from infra.settings import Settings


@asynccontextmanager
async def pool_routing(
    settings: Settings, sections: Sections, prices: PriceLists
) -> AsyncIterator[Routing]:
    """The router of a bind pool, which has no other need of the tenants."""
    tenants = sections.register(tenants_of.SECTION, tenants_of.load_tenants)
    async with routing(
        settings,
        sections,
        lambda name: tenants.value.get(name),  # noqa: PLW0108 - the table of the moment
        lambda: prices.value,
    ) as router:
        yield router


def closed_adapters(sections: Sections) -> Callable[[str, str, str], bool]:
    """Which adapters no route leads to any more, for the process that hands over; see
    `handlers.delivery.adapter.Closed`."""
    tenants = sections.register(tenants_of.SECTION, tenants_of.load_tenants)
    routes = sections.register(SECTION, load_routes)

    def rules(name: str) -> RoutingRules:
        found = tenants.value.get(name)
        return NO_RULES if found is None else found.routing

    return Routing(lambda: routes.value, rules).closed


@dataclass(frozen=True, slots=True)
class ApiRouting:
    """The router of an API process, and what explains and changes it."""

    router: ProviderRouter
    explainer: Explainer
    store: RouteStore
    tenants: TenantDirectory


@asynccontextmanager
async def api_routing(
    settings: Settings,
    sections: Sections,
    directory: Directory,
    prices: PriceLists,
    registry: Registry,
    pressure: PoolPressure,
) -> AsyncIterator[ApiRouting]:
    """The router of an API process."""
    async with routing(settings, sections, directory.tenant, lambda: prices.value) as chooses:
        router = ProviderRouter(chooses, registry, pressure.carriers)
        explainer = Explainer(router, settings.pool_urls, operator_key(settings))
        store = RouteStore(
            settings.database,
            lambda database: rules_of(tenants_of.load_tenants(database)),
            implicit=router.implicit,
            has_adapter=router.has_adapter,
        )
        try:
            yield ApiRouting(router, explainer, store, directory)
        finally:
            await explainer.close()


@asynccontextmanager
async def routing(
    settings: Settings,
    sections: Sections,
    tenant: Callable[[str], Tenant | None],
    book: Callable[[], PriceBook],
) -> AsyncIterator[Routing]:
    """The router. `tenant` finds a tenant in memory, `book` gives the price lists of the moment."""
    routes = sections.register(SECTION, load_routes)

    def rules(name: str) -> RoutingRules:
        found = tenant(name)
        return NO_RULES if found is None else found.routing

    async with shared_quality(settings) as quality:
        yield Routing(
            lambda: routes.value,
            rules,
            BookPrices(book),
            quality,
            strategy=settings.routing.strategy,
        )


@asynccontextmanager
async def shared_quality(settings: Settings) -> AsyncIterator[Quality]:
    """What all processes know of the ways' quality."""
    shared = SharedQuality(settings.database)
    await shared.start()
    try:
        yield shared.quality
    finally:
        await shared.close()
