"""A choice in full, for people: every route, its scores, and the reason for its place."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.message import Category
from domain.routing.choice import Why
from domain.routing.destinations import digits_of
from domain.routing.question import Question
from domain.routing.router import Dismissed, Ranking
from domain.routing.routes import Kind
from domain.routing.table import LeftOut


class Asked(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A message that might be sent. `to` is a checked address of the channel; what is not known of
    the number is None. `draw` is as in `Question`."""

    tenant: str
    channel: str
    to: str
    country: str | None = None
    operator: str | None = None
    number_type: str | None = None
    category: Category = Category.TRANSACTIONAL
    sender: str | None = None
    named: str | None = None
    draw: int = 0

    def question(self) -> Question:
        """What the router is asked about it."""
        return Question(
            self.tenant,
            self.channel,
            digits_of(self.channel, self.to),
            self.country,
            self.operator,
            self.number_type,
            self.category,
            self.sender,
            self.named,
            self.draw,
        )


class ExplainedCandidate(msgspec.Struct, frozen=True):
    """A route that the message could take, in its place. `trouble` says why it is not up, `wait`
    how many seconds its queue is long. `rate` is the share that the provider delivered of late to
    the country, `latency` the seconds until then, `seen` the messages behind both, weighted by
    their age; without any, what is assumed of everybody. `score` is quality in one number up to 1.
    `matched` is the length of the prefix that fits, 1 for a country, 0 for all. `implicit` is a
    provider that no route names."""

    route: str
    kind: Kind
    provider: str
    why: Why
    up: bool
    trouble: str | None
    wait: float | None
    price: str | None
    currency: str | None
    rate: float
    latency: float
    seen: float
    score: float
    priority: int
    weight: int
    matched: int
    own: bool
    implicit: bool


class ExplainedRoute(msgspec.Struct, frozen=True):
    """A route that the message cannot take, and why."""

    route: str
    kind: Kind
    provider: str
    why: LeftOut


class Explanation(msgspec.Struct, frozen=True):
    """What the router would do with a message now. `chosen` is None when nothing could carry it:
    without candidates, or with all of them down."""

    strategy: str
    chosen: str | None
    candidates: list[ExplainedCandidate]
    left_out: list[ExplainedRoute]


def explain(
    ranking: Ranking, dismissed: Iterable[Dismissed], implicit: Iterable[str]
) -> Explanation:
    """The explanation of a ranking. `implicit` are the names of routes that nobody stored."""
    unnamed = frozenset(implicit)
    candidates = []
    for option, why in zip(ranking.options, ranking.whys(), strict=True):
        scored = option.scored
        candidate = scored.candidate
        route = candidate.route
        candidates.append(
            ExplainedCandidate(
                route=route.name,
                kind=route.kind,
                provider=route.provider,
                why=why,
                up=option.usable,
                trouble=option.condition.why,
                wait=None if option.condition.wait is None else round(option.condition.wait, 3),
                price=None if scored.price is None else scored.price.text,
                currency=None if scored.price is None else scored.price.currency or None,
                rate=round(scored.quality.rate, 4),
                latency=round(scored.quality.latency, 2),
                seen=round(scored.quality.seen, 1),
                score=round(scored.score, 4),
                priority=route.priority,
                weight=scored.weight,
                matched=candidate.matched,
                own=candidate.own,
                implicit=route.name in unnamed,
            )
        )
    chosen = ranking.options[0].route.name if ranking.options and candidates[0].up else None
    return Explanation(
        strategy=ranking.strategy.name,
        chosen=chosen,
        candidates=candidates,
        left_out=[
            ExplainedRoute(one.route.name, one.route.kind, one.route.provider, one.why)
            for one in dismissed
        ],
    )


def merged(ours: Explanation, carriers: Explanation) -> Explanation:
    """One explanation of two: of all providers, and of the carriers by who knows them best, which
    stand where the first of them stood."""
    others = [one for one in ours.candidates if one.kind is not Kind.CARRIER]
    kinds = [one.kind for one in ours.candidates]
    place = kinds.index(Kind.CARRIER) if Kind.CARRIER in kinds else len(kinds)
    known = list(carriers.candidates)
    if known and place < len(kinds) and (place or len(known) == 1):
        # The pool knows of no adapters: how its best stands to them, it cannot tell.
        known[0] = msgspec.structs.replace(known[0], why=ours.candidates[place].why)
    candidates = [*others[:place], *known, *others[place:]]
    left_out = [one for one in ours.left_out if one.kind is not Kind.CARRIER]
    left_out += [one for one in carriers.left_out if one.kind is Kind.CARRIER]
    return Explanation(
        strategy=ours.strategy,
        chosen=next((one.route for one in candidates if one.up), None),
        candidates=candidates,
        left_out=left_out,
    )
