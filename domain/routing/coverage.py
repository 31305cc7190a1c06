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
    pairs = [(name, _Channel(had, name), _Channel(has, name)) for name in sorted(channels)]
    for tenant, rules in tenants:
        for channel, then, now in pairs:
            if now.covers(tenant, rules, has_adapter):
                continue
            if then.covers(tenant, rules, has_adapter):
                yield Stranded(tenant, channel)


class _Channel:
    """A channel's enabled routes: those for everybody, and those for each tenant that is named."""

    def __init__(self, routes: Iterable[Route], channel: str) -> None:
        self._open: list[Route] = []
        self._of: dict[str, list[Route]] = {}
        for route in routes:
            if route.channel == channel and route.enabled:
                if not route.tenants:
                    self._open.append(route)
                for tenant in route.tenants:
                    self._of.setdefault(tenant, []).append(route)

    def covers(self, tenant: str, rules: RoutingRules, has_adapter: HasAdapter) -> bool:
        common = () if rules.own_only else self._open
        return any(
            route.name not in rules.exclude
            and (
                route.kind is not Kind.ADAPTER or has_adapter(tenant, route.provider, route.channel)
            )
            for route in (*self._of.get(tenant, ()), *common)
        )
