"""Who would be left without any route for a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from domain.routing.routes import Kind, Route
from domain.routing.rules import RoutingRules

HasAdapter = Callable[[str, str, str], bool]
"""Whether a tenant has an adapter of this name for this channel."""


class Stranded(NamedTuple):
    """A tenant that would have no route for a channel for which it has one."""

    tenant: str
    channel: str


def stranded(
    before: Iterable[Route],
    after: Iterable[Route],
    tenants: Iterable[tuple[str, RoutingRules]],
    has_adapter: HasAdapter,
) -> Iterator[Stranded]:
    """The tenants that lose their last route by a change; providers that no route names are to be
    among the routes, each as one of its own. Destinations are not looked at: a tenant that keeps
    a route for some has one."""
    had, has = tuple(before), tuple(after)
    # Only where something is taken away: a channel whose routes stay as they are strands nobody.
    kept = set(has)
    channels = {route.channel for route in had if route not in kept}
    for tenant, rules in tenants:
        for channel in channels:
            if _covered(had, channel, tenant, rules, has_adapter) and not _covered(
                has, channel, tenant, rules, has_adapter
            ):
                yield Stranded(tenant, channel)


def _covered(
    routes: Iterable[Route],
    channel: str,
    tenant: str,
    rules: RoutingRules,
    has_adapter: HasAdapter,
) -> bool:
    return any(
        route.channel == channel
        and route.enabled
        and (not route.tenants or tenant in route.tenants)
        and route.name not in rules.exclude
        and (tenant in route.tenants or not rules.own_only)
        and (route.kind is not Kind.ADAPTER or has_adapter(tenant, route.provider, channel))
        for route in routes
    )
