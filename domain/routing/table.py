"""The routes of one moment, and which of them a message may take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import Final

from domain.routing.question import Candidate, Question
from domain.routing.routes import Kind, Route

_REMEMBERED: Final = 20_000
"""Answers kept for each channel: there are as many as there are different kinds of messages."""
_Key = tuple[object, ...]


class LeftOut(str, Enum):
    """Why a route is no candidate for a message."""

    DISABLED = "disabled"
    OTHER_TENANT = "other_tenant"
    OTHER_DESTINATION = "other_destination"
    OTHER_OPERATOR = "other_operator"
    OTHER_NUMBER_TYPE = "other_number_type"
    OTHER_CATEGORY = "other_category"
    OTHER_SENDER = "other_sender"
    NOT_NAMED = "not_named"  # the client asks for another provider
    EXCLUDED = "excluded"  # by the tenant's rules
    NOT_OWN = "not_own"  # the tenant takes only routes of its own
    TOO_DEAR = "too_dear"  # beyond the tenant's highest price
    UNKNOWN_PROVIDER = "unknown_provider"  # there is none of this name


def way_of(route: Route, tenant: str) -> str:
    """What carries a route's messages: quality is counted under it. An adapter is each tenant's
    own account with a provider, a carrier is everybody's."""
    if route.kind is Kind.ADAPTER:
        return f"{route.kind.value}:{tenant}/{route.provider}"
    if route.kind is Kind.OWN:
        return f"{route.kind.value}:{route.channel}"
    return f"{route.kind.value}:{route.provider}"


class RouteTable:
    """Routes in their order, which never change; what comes later is another table.

    `implicit` are the providers that no route names: each is a route by itself.
    """

    def __init__(self, routes: Iterable[Route], implicit: Iterable[Route] = ()) -> None:
        self.explicit = tuple(routes)
        named = {(route.channel, route.kind, route.provider) for route in self.explicit}
        self.implicit = tuple(
            route for route in implicit if (route.channel, route.kind, route.provider) not in named
        )
        self.routes = (*self.explicit, *self.implicit)
        self._routed = frozenset(route.channel for route in self.explicit)
        self._of_adapters: dict[tuple[str, str], list[Route]] = {}
        for route in self.explicit:
            if route.kind is Kind.ADAPTER:
                key = (route.channel, route.provider)
                self._of_adapters.setdefault(key, []).append(route)
        self._channels: dict[str, _Channel] = {}
        for channel in {route.channel for route in self.routes}:
            self._channels[channel] = _Channel(
                [(n, route) for n, route in enumerate(self.routes) if route.channel == channel],
                frozenset(self.implicit),
            )

    def of(self, channel: str) -> tuple[Route, ...]:
        """A channel's routes, in order."""
        found = self._channels.get(channel)
        return () if found is None else found.routes

    def is_routed(self, channel: str) -> bool:
        """Whether somebody has said how the channel is routed."""
        return channel in self._routed

    def asks_countries(self, channel: str) -> bool:
        """Whether a route of the channel lists countries."""
        found = self._channels.get(channel)
        return found is not None and found.asks_countries

    def closed(self, tenant: str, channel: str, adapter: str, excluded: Collection[str]) -> bool:
        """Whether none of the adapter's routes takes messages of the tenant any more, wherever they
        go: each is disabled, others', or `excluded` by the tenant's rules."""
        routes = self._of_adapters.get((channel, adapter))
        if routes is None:
            # A route by itself.
            return adapter in excluded
        return not any(
            route.enabled
            and (not route.tenants or tenant in route.tenants)
            and route.name not in excluded
            for route in routes
        )

    def candidates(self, question: Question) -> tuple[Candidate, ...]:
        """The routes that the message may take, in the table's order, whatever the providers do."""
        channel = self._channels.get(question.channel)
        return () if channel is None else channel.candidates(question)

    def left_out(self, question: Question) -> list[tuple[Route, LeftOut]]:
        """The channel's other routes, and why. Slow: for people."""
        channel = self._channels.get(question.channel)
        return [] if channel is None else channel.left_out(question)


class _Channel:
    def __init__(self, routes: Sequence[tuple[int, Route]], implicit: frozenset[Route]) -> None:
        self.routes = tuple(route for _, route in routes)
        self._placed = tuple(routes)
        self._implicit = implicit
        prefixes = {prefix for route in self.routes for prefix in route.prefixes}
        lengths = sorted({len(prefix) for prefix in prefixes}, reverse=True)
        self._prefixes = [
            (length, frozenset(p for p in prefixes if len(p) == length)) for length in lengths
        ]
        # Only what some route asks about tells two messages apart.
        self._countries = _named(route.countries for route in self.routes)
        self.asks_countries = bool(self._countries)
        self._operators = _named(route.operators for route in self.routes)
        self._types = _named(route.number_types for route in self.routes)
        self._categories = _named(route.categories for route in self.routes)
        self._senders = _named(route.senders for route in self.routes)
        self._tenants = _named(route.tenants for route in self.routes)
        self._adapters = any(route.kind is Kind.ADAPTER for route in self.routes)
        self._known: dict[_Key, tuple[Candidate, ...]] = {}

    def candidates(self, q: Question) -> tuple[Candidate, ...]:
        digits = q.digits
        prefix = ""
        for length, known in self._prefixes:
            if digits[:length] in known:
                prefix = digits[:length]
                break
        key = (
            prefix,
            q.country if q.country in self._countries else None,
            q.operator if q.operator in self._operators else None,
            q.number_type if q.number_type in self._types else None,
            q.category if q.category in self._categories else None,
            q.sender if q.sender in self._senders else None,
            q.tenant if self._adapters or q.tenant in self._tenants else None,
            q.named,
        )
        found = self._known.get(key)
        if found is None:
            # Routes' prefixes that fit the number are prefixes of the longest one that does, so
            # the key says all there is to know of it.
            found = tuple(
                Candidate(route, _matched(route, prefix, q), _own(route, q), place, way)
                for place, route in self._placed
                if self._why_not(route, prefix, q) is None and (way := way_of(route, q.tenant))
            )
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found

    def left_out(self, q: Question) -> list[tuple[Route, LeftOut]]:
        prefix = next((q.digits[:n] for n, known in self._prefixes if q.digits[:n] in known), "")
        return [
            (route, why)
            for route in self.routes
            if (why := self._why_not(route, prefix, q)) is not None
        ]

    def _why_not(self, route: Route, prefix: str, q: Question) -> LeftOut | None:
        if not route.enabled:
            return LeftOut.DISABLED
        if route.tenants and q.tenant not in route.tenants:
            return LeftOut.OTHER_TENANT
        if q.named is not None:
            if q.named not in (route.name, route.provider):
                return LeftOut.NOT_NAMED
            if route in self._implicit:
                # Whoever names a provider means it, wherever it would be chosen otherwise.
                return None
        if (route.prefixes or route.countries) and not (
            (route.prefixes and prefix.startswith(route.prefixes))
            or (q.country is not None and q.country in route.countries)
        ):
            return LeftOut.OTHER_DESTINATION
        if route.operators and q.operator not in route.operators:
            return LeftOut.OTHER_OPERATOR
        if route.number_types and q.number_type not in route.number_types:
            return LeftOut.OTHER_NUMBER_TYPE
        if route.categories and q.category not in route.categories:
            return LeftOut.OTHER_CATEGORY
        if route.senders and q.sender not in route.senders:
            return LeftOut.OTHER_SENDER
        return None


def _named(lists: Iterable[Sequence[str]]) -> frozenset[str]:
    return frozenset(value for values in lists for value in values)


def _own(route: Route, q: Question) -> bool:
    return q.tenant in route.tenants


def _matched(route: Route, prefix: str, q: Question) -> int:
    longest = max((len(p) for p in route.prefixes if prefix.startswith(p)), default=0)
    return longest or int(q.country is not None and q.country in route.countries)
