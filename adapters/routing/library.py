"""The router as a process has it: the routes and the tenants' rules of the moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from domain.routing.quality import Quality
from domain.routing.question import Candidate, Conditions, NoPrices, Prices, Question
from domain.routing.router import Dismissed, Ranking, Router
from domain.routing.routes import Route
from domain.routing.rules import NO_RULES, RoutingRules
from domain.routing.strategies import DEFAULT
from domain.routing.table import RouteTable

NO_ROUTES: Final[tuple[Route, ...]] = ()


class Routing:
    """Asks the router. `routes` gives those that are stored, the same object until they change;
    `rules` a tenant's. For one thread."""

    def __init__(
        self,
        routes: Callable[[], tuple[Route, ...]] = lambda: NO_ROUTES,
        rules: Callable[[str], RoutingRules] = lambda tenant: NO_RULES,
        prices: Prices | None = None,
        quality: Quality | None = None,
        *,
        strategy: str = DEFAULT,
    ) -> None:
        self._routes = routes
        self._rules = rules
        self.quality = quality or Quality()
        self.prices = prices or NoPrices()
        self._explicit, self._implicit = NO_ROUTES, NO_ROUTES
        self._router = Router(RouteTable(()), self.prices, self.quality, strategy=strategy)

    def table(self, implicit: tuple[Route, ...]) -> RouteTable:
        """The routes as they are now; `implicit` are the providers that are routes by themselves
        unless a route names them, the same object until they change."""
        explicit = self._routes()
        if explicit is not self._explicit or implicit is not self._implicit:
            self._explicit, self._implicit = explicit, implicit
            self._router.table = RouteTable(explicit, implicit)
        return self._router.table

    def rules(self, tenant: str) -> RoutingRules:
        """A tenant's own."""
        return self._rules(tenant)

    def closed(self, tenant: str, channel: str, adapter: str) -> bool:
        """See `RouteTable.closed`."""
        table = self.table(self._implicit)
        return table.closed(tenant, channel, adapter, self._rules(tenant).exclude)

    def leaves_it_to_hermes(self, tenant: str) -> bool:
        """Whether a tenant has no rules."""
        rules = self._rules(tenant)
        return rules is NO_RULES or rules == NO_RULES

    def rank(
        self,
        question: Question,
        implicit: tuple[Route, ...],
        conditions: Conditions,
        extra: tuple[Candidate, ...] = (),
    ) -> Ranking:
        """See `Router.rank`."""
        self.table(implicit)
        now = time.time()
        at = datetime.fromtimestamp(now, UTC)
        rules = self._rules(question.tenant)
        return self._router.rank(question, rules, conditions, now, at, extra)

    def dismissed(
        self,
        question: Question,
        implicit: tuple[Route, ...],
        conditions: Conditions,
        extra: tuple[Candidate, ...] = (),
    ) -> list[Dismissed]:
        """See `Router.dismissed`."""
        self.table(implicit)
        at = datetime.now(UTC)
        rules = self._rules(question.tenant)
        return self._router.dismissed(question, rules, conditions, at, extra)
