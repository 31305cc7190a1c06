"""How one tenant's messages are routed, where that differs from everybody's."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from domain.routing.routes import Country, Prefix, RouteName

StrategyName = Literal["least-cost", "priority", "weighted"]
Names = Annotated[tuple[RouteName, ...], msgspec.Meta(max_length=100)]


class Pin(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Messages to these destinations take this route as long as it is up; nothing listed is all of
    the channel's."""

    route: RouteName
    channel: str = "sms"
    prefixes: tuple[Prefix, ...] = ()
    countries: tuple[Country, ...] = ()


class RoutingRules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tenant's own say in the choice of routes.

    `order` names routes in the order in which they are tried, before all others; `exclude` those
    that are never taken. `weights` go before the routes' own. `own_only` leaves out the routes
    that are for everybody. `max_price` is what a segment may cost at most; what has no price is
    not left out by it.
    """

    strategy: StrategyName | None = None
    pins: Annotated[tuple[Pin, ...], msgspec.Meta(max_length=200)] = ()
    order: Names = ()
    exclude: Names = ()
    weights: dict[RouteName, Annotated[int, msgspec.Meta(ge=1, le=1000)]] = {}
    own_only: bool = False
    max_price: Decimal | None = None


NO_RULES = RoutingRules()
"""Of a tenant that leaves it to Hermes."""
