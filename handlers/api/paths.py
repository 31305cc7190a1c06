"""Which routes a path means, and which methods it knows.

The router asks its routes one by one. By itself, that has two faults: a path such as
`/v1/messages/batch` is also a message named `batch`, and of a path with several routes only the
first one's methods are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match, Route


class ByPath(APIRoute):
    """A route that leaves a path to those who have it in full; `fixed` are those paths."""

    fixed: frozenset[str] = frozenset()

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """See Starlette."""
        path = scope.get("path")
        if path in self.fixed and path != self.path:
            return Match.NONE, {}
        return super().matches(scope)


def settle(routes: Sequence[BaseRoute]) -> None:
    """Tell the routes of each other's paths, once all are there."""
    fixed = frozenset(
        route.path for route in routes if isinstance(route, Route) and not route.param_convertors
    )
    for route in routes:
        if isinstance(route, ByPath):
            route.fixed = fixed


def allowed(routes: Sequence[BaseRoute], scope: Any) -> str:
    """The methods that a request's path knows, as the `Allow` header has them."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
