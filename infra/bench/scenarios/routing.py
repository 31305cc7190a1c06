"""[routing] What a choice of a route costs, and whether it is the right one.

The library as the bind pool calls it, with price lists, quality and health, but without sockets.
Time passes as at 1,000 messages a second, so that what is looked at once a second is paid for.
Of each figure the quickest of several batches counts: what else the machine does makes a batch
slower, and never quicker.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.routing.prices import BookPrices
from domain.billing.prices import PriceBook, PriceRow
from domain.message import Category
from domain.routing.choice import RouteChoice
from domain.routing.quality import Quality
from domain.routing.question import WELL, Condition, Question
from domain.routing.router import Router
from domain.routing.routes import Route
from domain.routing.rules import NO_RULES
from domain.routing.table import RouteTable, way_of
from infra.bench.scenario import Check, Run, Scenario, at_most, exactly

ROUTES: Final = 200
CANDIDATES: Final = 20
_COUNTRIES: Final = ("45", "46", "47", "44", "49", "33", "34", "39", "31", "358")
_TENANTS: Final = 50
_BATCHES: Final = 15
_CHOICES: Final = 2_000
_FRESH: Final = 200
_SECOND: Final = 1_000.0
"""Choices in a second."""
_PRICES: Final = 7
_DOWN: Final = 0.05

CHOICE = at_most(f"CPU of a choice, {ROUTES} routes, {CANDIDATES} candidates", 50, "µs")
FRESH = at_most("CPU of the first choice of its kind within a second", 500, "µs")
CHANGED = at_most("CPU of the first choice after a route has changed", 5_000, "µs")
WRONG = exactly("lost: choices that are not the cheapest of those that are up", 0)


class World:
    """Routes, what they cost, how they have done, and which of them are up."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 1_800_000_000.0
        self.routes = [_route(n) for n in range(ROUTES)]
        self.costs = {route.name: self.chance.randrange(_PRICES) for route in self.routes}
        self.down = {r.provider for r in self.routes if self.chance.random() < _DOWN}
        self.conditions = {
            route.provider: Condition(False, "down") if route.provider in self.down else WELL
            for route in self.routes
        }
        self.router = Router(RouteTable(self.routes), self._prices(), self._quality())

    def of(self, route: Route, question: Question) -> Condition | None:
        """See `domain.routing.question.Conditions`."""
        return self.conditions.get(route.provider)

    def choose(self) -> tuple[Question, RouteChoice | None]:
        """One message's choice, a moment after the one before."""
        self.now += 1 / _SECOND
        question = self._question()
        at = datetime.fromtimestamp(self.now, UTC)
        ranking = self.router.rank(question, NO_RULES, self, self.now, at)
        return question, ranking.choice()

    def changed(self) -> None:
        """An operator changes a route."""
        self.router.table = RouteTable(self.routes)

    def right(self, question: Question, choice: RouteChoice | None) -> bool:
        """Whether no route that is up is cheaper, found without the router."""
        fitting = [
            route
            for route in self.routes
            if question.digits.startswith(route.prefixes) and route.provider not in self.down
        ]
        if not fitting or choice is None:
            return choice is None and not fitting
        return self.costs[choice.route] == min(self.costs[route.name] for route in fitting)

    def _question(self) -> Question:
        chance = self.chance
        code = chance.choice(_COUNTRIES)
        return Question(
            f"tenant-{chance.randrange(_TENANTS)}",
            "sms",
            f"{code}2{chance.randrange(10**7):07}",
            category=chance.choice((Category.OTP, Category.TRANSACTIONAL)),
            draw=chance.randrange(2**32),
        )

    def _prices(self) -> BookPrices:
        since = datetime.fromtimestamp(self.now, UTC) - timedelta(days=1)
        book = PriceBook(
            PriceRow(
                f"prc_{route.name}",
                "sms",
                10_000 + 1_000 * self.costs[route.name],
                "EUR",
                since,
                route=route.provider,
                prefix=route.prefixes[0],
            )
            for route in self.routes
        )
        return BookPrices(lambda: book)

    def _quality(self) -> Quality:
        quality = Quality()
        for route in self.routes:
            way, code = way_of(route, ""), _code(route)
            for _ in range(100):
                at = self.now - self.chance.random() * 1_500
                quality.sent(way, code, at)
                if self.chance.random() < 0.95:
                    quality.delivered(way, code, at, at + self.chance.expovariate(0.2))
                else:
                    quality.failed(way, code, at)
        return quality


def _route(number: int) -> Route:
    """The routes of a country are CANDIDATES, each by a carrier of its own."""
    code = _COUNTRIES[number // CANDIDATES]
    name = f"route-{number}"
    return Route(name, "sms", provider=f"carrier-{number}", prefixes=(code, f"{code}2"))


def _code(route: Route) -> str:
    return route.prefixes[0]


def run(run: Run) -> Sequence[Check]:
    """One thread, one router."""
    run.phase("choices")
    world = World(run.seed)
    wrong = sum(not world.right(*world.choose()) for _ in range(_CHOICES))

    def later() -> None:
        world.now += 2

    return (
        CHOICE.check(_quickest(world, _CHOICES, lambda: None)),
        FRESH.check(_quickest(world, _FRESH, later)),
        CHANGED.check(_quickest(world, 20, world.changed)),
        WRONG.check(wrong),
    )


def _quickest(world: World, choices: int, before: Callable[[], None]) -> float:
    """Microseconds of CPU of a choice, in the quickest batch; `before` is not counted."""
    batches = []
    for _ in range(_BATCHES):
        spent = 0.0
        for _ in range(choices):
            before()
            began = time.thread_time()
            world.choose()
            spent += time.thread_time() - began
        batches.append(spent / choices * 1e6)
    return min(batches)


SCENARIO = Scenario(
    "routing",
    f"A choice among {ROUTES} routes, {CANDIDATES} of them candidates, with prices and quality",
    (CHOICE, FRESH, CHANGED, WRONG),
    run,
)
