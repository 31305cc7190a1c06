"""The algorithms: in which order candidates are tried. Another one is a class and a line here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

from domain.routing.choice import Why
from domain.routing.quality import Estimate
from domain.routing.question import Candidate, Price

CLEARLY_BETTER: Final = 0.05
"""In score: by how much another must be better before it takes a winner's place."""
POOR_FROM: Final = 0.20
POOR_UNTIL: Final = 0.10
"""In score: how far below the best a way goes last, and where it stops being so."""
EVIDENCE: Final = 20.0
"""Messages that must stand behind a way's quality before it is called poor."""
SAME_PRICE: Final = Decimal("1.01")
"""Prices up to this factor apart are the same: quality decides between them."""


class Part(NamedTuple):
    """A part of the order: what it says of the one before, and of the one behind."""

    before: Why
    behind: Why


OWN: Final = Part(Why.OWN, Why.SHARED)
TENANT_ORDER: Final = Part(Why.TENANT_ORDER, Why.LATER)
POOR: Final = Part(Why.SOUND, Why.POOR)
PRIORITY: Final = Part(Why.PRIORITY, Why.LOWER_PRIORITY)
COST: Final = Part(Why.CHEAPEST, Why.DEARER)
CLOSEST: Final = Part(Why.CLOSEST, Why.WIDER)
STEADY: Final = Part(Why.STEADY, Why.WORSE)
QUALITY: Final = Part(Why.BETTER, Why.WORSE)
WEIGHT: Final = Part(Why.SHARE, Why.NOT_ITS_TURN)
PLACE: Final = Part(Why.FIRST, Why.LATER)

Key = tuple[Any, ...]


@dataclass(slots=True)
class Scored:
    """A candidate with all that is known of it. `wish` is its place in the tenant's own order,
    `weight` its route's or the tenant's. `key` is what it is ordered by, the lowest first, a value
    for each of its strategy's parts."""

    candidate: Candidate
    price: Price | None
    quality: Estimate
    score: float
    wish: int
    weight: int
    key: Key = ()


@dataclass(slots=True)
class Standing:
    """What the last order leaves to the next: hysteresis needs to know who won, and who was poor.
    Both are ways."""

    winner: str | None = None
    poor: frozenset[str] = frozenset()


class Strategy(Protocol):
    """Orders candidates. It must give the same order for the same facts: no clock, no chance."""

    @property
    def name(self) -> str:
        """As settings and timelines have it."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What its keys are made of, in order."""

    @property
    def drawn(self) -> bool:
        """Whether the order depends on the message's draw: then it is made for each message."""

    def order(self, scored: list[Scored], standing: Standing, draw: int) -> Standing:
        """Give each its key, and sort. What it returns is the next call's `standing`."""


class LeastCost:
    """The tenant's own order, then priority, then the lowest price, then quality.

    Who works much worse than the best goes last, whatever it costs. Between those that cost the
    same and name the destination as closely, the winner stays until another is clearly better.
    """

    name = "least-cost"
    parts = (OWN, TENANT_ORDER, POOR, PRIORITY, COST, CLOSEST, STEADY, QUALITY, WEIGHT, PLACE)
    drawn = False
    _BEFORE_QUALITY: Final = 6

    def order(self, scored: list[Scored], standing: Standing, draw: int) -> Standing:
        """See `Strategy`."""
        poor = poor_ones(scored, standing)
        bands = price_bands(scored)
        last = len(bands)
        for one in scored:
            candidate = one.candidate
            route = candidate.route
            one.key = (
                not candidate.own,
                one.wish,
                candidate.way in poor,
                route.priority,
                last if one.price is None else bands[one.price.amount],
                -candidate.matched,
                1,
                -one.score,
                -one.weight,
                candidate.place,
            )
        if len(scored) > 1:
            self._steady(scored, standing)
            scored.sort(key=_key)
        return Standing(scored[0].candidate.way if scored else None, poor)

    def _steady(self, scored: list[Scored], standing: Standing) -> None:
        """Let whoever won the last time stay the first of its equals, and at first whoever would
        be first without a look at quality, until another is clearly better."""
        n = self._BEFORE_QUALITY
        best = min(scored, key=_key)
        alike = best.key[:n]
        holder = None
        for one in scored:
            if one.key[:n] == alike:
                if one.candidate.way == standing.winner:
                    holder = one
                    break
                if holder is None or one.key[n + 2 :] < holder.key[n + 2 :]:
                    holder = one
        if holder is None or holder is best or best.score - holder.score >= CLEARLY_BETTER:
            return
        if holder.candidate.way == standing.winner:
            holder.key = (*alike, 0, *holder.key[n + 1 :])
        else:
            # As good as the best, then: what is left of the key decides.
            holder.key = (*alike, 1, -best.score, *holder.key[n + 2 :])


class ByPriority:
    """The order that was configured: the tenant's own, then priority, then the closest prefix.
    Neither price nor quality matters, but for who works much worse than the best."""

    name = "priority"
    parts = (OWN, TENANT_ORDER, POOR, PRIORITY, CLOSEST, WEIGHT, PLACE)
    drawn = False

    def order(self, scored: list[Scored], standing: Standing, draw: int) -> Standing:
        """See `Strategy`."""
        poor = poor_ones(scored, standing)
        for one in scored:
            candidate = one.candidate
            one.key = (
                not candidate.own,
                one.wish,
                candidate.way in poor,
                candidate.route.priority,
                -candidate.matched,
                -one.weight,
                candidate.place,
            )
        scored.sort(key=_key)
        return Standing(scored[0].candidate.way if scored else None, poor)


class Weighted:
    """Traffic is divided by weight among the routes of the first priority that work soundly. A
    message keeps its draw, so it meets the same order again."""

    name = "weighted"
    parts = (OWN, TENANT_ORDER, POOR, PRIORITY, WEIGHT, PLACE)
    drawn = True

    def order(self, scored: list[Scored], standing: Standing, draw: int) -> Standing:
        """See `Strategy`."""
        poor = poor_ones(scored, standing)
        for one in scored:
            candidate = one.candidate
            one.key = (
                not candidate.own,
                one.wish,
                candidate.way in poor,
                candidate.route.priority,
                _ticket(draw, candidate.place) / one.weight,
                candidate.place,
            )
        scored.sort(key=_key)
        return Standing(None, poor)


STRATEGIES: Final[dict[str, Strategy]] = {
    strategy.name: strategy for strategy in (LeastCost(), ByPriority(), Weighted())
}
DEFAULT: Final = LeastCost.name


def poor_ones(scored: Sequence[Scored], standing: Standing) -> frozenset[str]:
    """The ways that deliver much less than the best, on enough evidence."""
    best = max((one.score for one in scored), default=0.0)
    found = [
        one.candidate.way
        for one in scored
        if best - one.score > POOR_UNTIL
        and one.quality.seen >= EVIDENCE
        and (best - one.score > POOR_FROM or one.candidate.way in standing.poor)
    ]
    return frozenset(found)


def price_bands(scored: Sequence[Scored]) -> dict[Decimal, int]:
    """The prices in order, those that are about the same with the same number."""
    bands: dict[Decimal, int] = {}
    band, begins = -1, Decimal(0)
    for amount in sorted({one.price.amount for one in scored if one.price is not None}):
        if band < 0 or amount > begins * SAME_PRICE:
            band, begins = band + 1, amount
        bands[amount] = band
    return bands


def _key(one: Scored) -> Key:
    return one.key


def _ticket(draw: int, place: int) -> float:
    """An exponentially distributed number for a message and a route: the lowest of several, each
    divided by its weight, wins with a probability in proportion to that."""
    mixed = (draw ^ (place * 0x9E3779B1)) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    mixed ^= mixed >> 16
    return -math.log((mixed + 1) / 0x1_0000_0001)
