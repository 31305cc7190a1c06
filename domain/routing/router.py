"""The router: asks the table, the providers, the prices and the quality, and orders the rest."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from domain.message import Category
from domain.routing.choice import LISTED, Considered, RouteChoice, Why
from domain.routing.destinations import calling_code
from domain.routing.quality import Quality
from domain.routing.question import WELL, Candidate, Condition, Conditions, Prices, Question
from domain.routing.routes import Route
from domain.routing.rules import Pin, RoutingRules
from domain.routing.strategies import DEFAULT, STRATEGIES, Part, Scored, Standing, Strategy
from domain.routing.table import LeftOut, RouteTable

_REMEMBERED: Final = 20_000
"""Orders kept; each is made anew after a second."""
_SURE: Final = 5.0
"""Messages behind a quality before it is worth telling."""

_DYNAMIC: Final = (
    Part(Why.UP, Why.DOWN),
    Part(Why.UNTRIED, Why.FAILED_BEFORE),
    Part(Why.PINNED, Why.NOT_PINNED),
)
"""What goes before the strategy's own parts, and changes from one message to the next."""


_Now = tuple[bool, bool, bool]
_PLAIN: Final[_Now] = (False, False, False)
_Marks = tuple[tuple[int, _Now | None], ...]
_MOMENTS: Final = 100
"""Moments of which it is remembered what was told: each lasts a second at most."""


class Option(NamedTuple):
    """A candidate in its place. `now` is the part of its order that only this moment knows."""

    now: tuple[bool, bool, bool]
    scored: Scored
    condition: Condition

    @property
    def route(self) -> Route:
        """The route."""
        return self.scored.candidate.route

    @property
    def usable(self) -> bool:
        """Whether its provider takes messages."""
        return self.condition.usable


class Dismissed(NamedTuple):
    """A route that is none of the options, and why."""

    route: Route
    why: LeftOut


class Ranking:
    """The candidates of one message, best first; those that are down at the end."""

    __slots__ = ("_told", "named", "options", "strategy")

    def __init__(
        self,
        options: list[Option],
        strategy: Strategy,
        named: bool,
        told: dict[str | None, RouteChoice],
    ) -> None:
        self.options = options
        self.strategy = strategy
        self.named = named
        # Shared by all messages of which the same is told.
        self._told = told

    def among(self, providers: Collection[str]) -> Ranking:
        """The same without the options of other providers."""
        options = [option for option in self.options if option.route.provider in providers]
        return Ranking(options, self.strategy, self.named, {})

    def choice(self, taken: str | None = None) -> RouteChoice | None:
        """The choice as the timeline tells it; None without an option.

        `taken` is the route that took the message in the end, of the options; those before it
        that were up had no room.
        """
        options = self.options
        if not options:
            return None
        known = self._told.get(taken)
        if known is not None:
            return known
        names = [option.route.name for option in options]
        at = names.index(taken) if taken in names else 0
        winner = options[at]
        others = options[:at] + options[at + 1 :]
        shown = [winner, *others[: LISTED - 1]]
        told = [
            _told(option, self._why(option, winner, passed=n <= at) if n else self._reason(at))
            for n, option in enumerate(shown)
        ]
        priced = next((o.scored.price for o in shown if o.scored.price is not None), None)
        choice = self._told[taken] = RouteChoice(
            winner.route.name,
            told[0].why,
            self.strategy.name,
            tuple(told),
            len(options) - len(shown),
            None if priced is None else priced.currency,
        )
        return choice

    def whys(self) -> list[Why]:
        """The reason for each option's place, in their order."""
        if not self.options:
            return []
        first = self.options[0]
        return [self._reason(0), *(self._why(o, first, passed=False) for o in self.options[1:])]

    def _reason(self, at: int) -> Why:
        options = self.options
        if len(options) == 1:
            return Why.NAMED if self.named else Why.ONLY
        winner = options[at]
        if any(option.usable for option in options[:at]):
            return Why.ROOM
        better = [o for o in options if o.scored.key < winner.scored.key]
        if not winner.now[2] and any(not o.usable for o in better):
            return Why.UP
        if not winner.now[2] and any(o.now[1] for o in better):
            return Why.UNTRIED
        following = options[at + 1] if at + 1 < len(options) else options[at - 1]
        return _difference(winner, following, self.strategy).before

    def _why(self, option: Option, winner: Option, *, passed: bool) -> Why:
        if passed and option.usable:
            return Why.NO_ROOM
        return _difference(winner, option, self.strategy).behind


@dataclass(slots=True)
class _Order:
    """What is kept of an order, and the objects that its key names by identity."""

    named: tuple[object, ...]
    second: int
    standing: Standing
    scored: list[Scored]
    well: list[Option] = field(init=False)
    told: dict[_Marks, dict[str | None, RouteChoice]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.well = [Option(_PLAIN, one, WELL) for one in self.scored]

    def told_in(self, marks: _Marks) -> dict[str | None, RouteChoice]:
        """What has been told of choices in such a moment, by the route that was taken."""
        found = self.told.get(marks)
        if found is None:
            if len(self.told) >= _MOMENTS:
                self.told.clear()
            found = self.told[marks] = {}
        return found


class Router:
    """Chooses among the routes of its table. For one thread.

    What changes slowly (routes, prices, quality) is looked at once a second for each kind of
    message; health and capacity each time.
    """

    def __init__(
        self, table: RouteTable, prices: Prices, quality: Quality, *, strategy: str = DEFAULT
    ) -> None:
        self._table = table
        self._prices = prices
        self._quality = quality
        self._default = STRATEGIES[strategy]
        self._orders: dict[Hashable, _Order] = {}

    @property
    def table(self) -> RouteTable:
        """The routes. Another table may take its place at any time."""
        return self._table

    @table.setter
    def table(self, table: RouteTable) -> None:
        self._table = table
        self._orders.clear()

    def rank(
        self,
        question: Question,
        rules: RoutingRules,
        conditions: Conditions,
        now: float,
        at: datetime,
        extra: tuple[Candidate, ...] = (),
    ) -> Ranking:
        """Everything that may carry the message, best first.

        `now` is in seconds since the epoch, `at` the same as a time with its zone. `extra` are
        candidates that are in no table; the same ones are to be the same object.
        """
        candidates = self._table.candidates(question)
        name = rules.strategy
        strategy = self._default if name is None else STRATEGIES[name]
        order = self._order(candidates, extra, question, rules, strategy, now, at)
        scored = order.scored
        if strategy.drawn:
            # A ranking keeps its keys for as long as its message is under way.
            scored = [replace(one) for one in scored]
            strategy.order(scored, order.standing, question.draw)
            well = [Option(_PLAIN, one, WELL) for one in scored]
        else:
            well = order.well
        pinned = _pinned(rules.pins, question) if rules.pins else None
        failed = question.failed
        special = bool(failed) or pinned is not None
        options: list[Option] = []
        # What sets this moment apart from one in which everybody is well.
        marks: list[tuple[int, _Now | None]] = []
        mixed = False
        for n, expected in enumerate(well):
            option = expected
            route = option.scored.candidate.route
            condition = conditions.of(route, question)
            if condition is None:
                marks.append((n, None))
                continue
            if special or not condition.usable:
                place = (
                    not condition.usable,
                    route.provider in failed,
                    pinned is not None and route.name != pinned,
                )
                if place != _PLAIN:
                    mixed = True
                    marks.append((n, place))
                option = Option(place, option.scored, condition)
            elif condition is not WELL:
                option = Option(_PLAIN, option.scored, condition)
            options.append(option)
        if mixed:
            options.sort(key=_place)
        told = {} if strategy.drawn else order.told_in(tuple(marks))
        return Ranking(options, strategy, question.named is not None, told)

    def dismissed(
        self,
        question: Question,
        rules: RoutingRules,
        conditions: Conditions,
        at: datetime,
        extra: tuple[Candidate, ...] = (),
    ) -> list[Dismissed]:
        """The channel's routes that are no options of this message, each with its reason. Slow:
        for people."""
        found = [Dismissed(*pair) for pair in self._table.left_out(question)]
        for candidate in (*self._table.candidates(question), *extra):
            why = self._ruled_out(candidate, question, rules, at)
            if why is None and conditions.of(candidate.route, question) is None:
                why = LeftOut.UNKNOWN_PROVIDER
            if why is not None:
                found.append(Dismissed(candidate.route, why))
        return found

    def _order(
        self,
        candidates: tuple[Candidate, ...],
        extra: tuple[Candidate, ...],
        question: Question,
        rules: RoutingRules,
        strategy: Strategy,
        now: float,
        at: datetime,
    ) -> _Order:
        urgent = question.category is Category.OTP
        zone = self._prices.zone(question)
        named = question.named is not None
        code = calling_code(question.digits)
        key = (id(candidates), id(extra), id(rules), code, urgent, named, zone)
        order = self._orders.get(key)
        second = int(now)
        if order is not None and order.second == second:
            return order
        standing = Standing() if order is None else order.standing
        scored = self._scored((*candidates, *extra), question, rules, now, at)
        standing = strategy.order(scored, standing, question.draw)
        if len(self._orders) >= _REMEMBERED:
            self._orders.clear()
        order = self._orders[key] = _Order((candidates, extra, rules), second, standing, scored)
        return order

    def _scored(
        self,
        candidates: Sequence[Candidate],
        question: Question,
        rules: RoutingRules,
        now: float,
        at: datetime,
    ) -> list[Scored]:
        wishes = {name: n for n, name in enumerate(rules.order)}
        unwished = len(wishes)
        weights = rules.weights
        code = calling_code(question.digits)
        scored = []
        for candidate in candidates:
            route = candidate.route
            if self._ruled_out(candidate, question, rules, at) is not None:
                continue
            quality = self._quality.of(candidate.way, code, now)
            scored.append(
                Scored(
                    candidate,
                    self._prices.of(route, question, at),
                    quality,
                    quality.score(question.category),
                    wishes.get(route.name, unwished),
                    weights.get(route.name, route.weight),
                )
            )
        return scored

    def _ruled_out(
        self, candidate: Candidate, question: Question, rules: RoutingRules, at: datetime
    ) -> LeftOut | None:
        """Why the tenant's rules leave a candidate out."""
        if candidate.route.name in rules.exclude:
            return LeftOut.EXCLUDED
        if rules.own_only and not candidate.own:
            return LeftOut.NOT_OWN
        if rules.max_price is not None:
            price = self._prices.of(candidate.route, question, at)
            if price is not None and price.amount > rules.max_price:
                return LeftOut.TOO_DEAR
        return None


def _place(option: Option) -> tuple[bool, bool, bool]:
    return option.now


def _difference(one: Option, other: Option, strategy: Strategy) -> Part:
    """The first part in which two options differ."""
    ours, theirs = (*one.now, *one.scored.key), (*other.now, *other.scored.key)
    parts = (*_DYNAMIC, *strategy.parts)
    for part, here, there in zip(parts, ours, theirs, strict=True):
        if here != there:
            return part
    return parts[-1]


def _told(option: Option, why: Why) -> Considered:
    scored = option.scored
    known = scored.quality.seen >= _SURE
    return Considered(
        option.route.name,
        why,
        None if scored.price is None else scored.price.text,
        round(scored.quality.rate, 3) if known else None,
        round(scored.quality.latency, 1) if known else None,
    )


def _pinned(pins: Sequence[Pin], question: Question) -> str | None:
    """The route that the message is pinned to."""
    for pin in pins:
        if pin.channel != question.channel:
            continue
        everywhere = not pin.prefixes and not pin.countries
        if (
            everywhere
            or question.digits.startswith(pin.prefixes)
            or (question.country in pin.countries)
        ):
            return pin.route
    return None
