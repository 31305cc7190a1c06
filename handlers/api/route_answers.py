"""The router's choices as clients see them."""

from __future__ import annotations

import msgspec

from domain.routing.choice import RouteChoice, Why
from domain.routing.explanation import Explanation


class ConsideredView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route that the message could take. `price` is a segment's, `rate` the share that the
    provider delivered of late to the country, `latency` the seconds until then."""

    route: str
    why: Why
    price: str | None = None
    rate: float | None = None
    latency: float | None = None


class RouteView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which route was taken, why, and by which strategy. `candidates` are the best ones with the
    reason for their place, the one that was taken first; `others` counts those that are not
    listed."""

    route: str
    why: Why
    strategy: str
    candidates: list[ConsideredView]
    others: int = 0
    currency: str | None = None


def route_view(choice: RouteChoice | None) -> RouteView | None:
    """A choice, as it is shown."""
    if choice is None:
        return None
    return RouteView(
        choice.route,
        choice.why,
        choice.strategy,
        [
            ConsideredView(one.route, one.why, one.price, one.rate, one.latency)
            for one in choice.candidates
        ],
        choice.others,
        choice.currency,
    )


class CandidateView(msgspec.Struct, frozen=True):
    """A route that the message could take, in its place. `trouble` says why it is not up, `wait`
    how many seconds its queue is long. `rate` is the share that the provider delivered of late to
    the country, `latency` the seconds until then; `score` is both in one number up to 1."""

    route: str
    provider: str
    why: Why
    up: bool
    trouble: str | None
    wait: float | None
    price: str | None
    currency: str | None
    rate: float
    latency: float
    score: float


class ExplanationView(msgspec.Struct, frozen=True):
    """What would become of a message now. `chosen` is null when nothing could carry it."""

    strategy: str
    chosen: str | None
    candidates: list[CandidateView]


def explanation_view(found: Explanation) -> ExplanationView:
    """The explanation as a tenant sees it: without what is none of its business, which are the
    routes of others and their destinations."""
    return ExplanationView(
        found.strategy,
        found.chosen,
        [
            CandidateView(
                one.route,
                one.provider,
                one.why,
                one.up,
                None if one.up else "It takes nothing at the moment.",
                one.wait,
                one.price,
                one.currency,
                one.rate,
                one.latency,
                one.score,
            )
            for one in found.candidates
        ],
    )
