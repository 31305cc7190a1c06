"""The routes in the database.

A change is one transaction with its line in the audit log, and is in use everywhere within a
second. It blocks: call it in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.store.audit import NO_TENANT, difference, note
from adapters.store.change import change, looking
from adapters.store.database import Database
from adapters.store.tenant_settings import complete
from adapters.store.tiers import look_at
from domain.faults import Fault, fault_of
from domain.routing.coverage import HasAdapter, Stranded, stranded
from domain.routing.routes import Route, RouteFault, check
from domain.routing.rules import RoutingRules
from domain.routing.table import RouteTable

SECTION: Final = "routes"
MOST: Final = 5_000
"""Routes that there may be."""
NAMED: Final = 20
"""Tenants that a refusal names."""
_TRAFFIC: Final = 30 * 86400.0
"""Seconds back in which a tenant must have sent something to be in need of a route."""

_LOAD: Final = "SELECT route_json FROM routes ORDER BY place, name"
_INSERT: Final = (
    "INSERT INTO routes (name, place, route_json, changed_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (name) DO NOTHING"
)
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Route).decode

Tenants = Callable[[Database], Iterable[tuple[str, RoutingRules]]]


class UnknownRoute(Exception):
    """No route has this name."""


class RouteExists(Exception):
    """There is a route of this name already."""


class TooManyRoutes(Exception):
    """There are MOST routes already."""


class RouteInvalid(Exception):
    """The route makes no sense; nothing was changed."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, f.path))}: {f.detail}" for f in faults))
        self.faults = faults


class RouteNeeded(Exception):
    """Without the route, tenants that send would have none for a channel; up to NAMED of them."""

    def __init__(self, stranded: Sequence[Stranded]) -> None:
        super().__init__(", ".join(f"{one.tenant}: {one.channel}" for one in stranded))
        self.stranded = tuple(stranded)


def load_routes(database: Database) -> tuple[Route, ...]:
    """Every route, in order, for the memory of a process."""
    return tuple(_decode(row[0]) for row in database.execute(_LOAD).fetchall())


class RouteStore:
    """Changes routes, and sees to it that nobody is left without one.

    `tenants` reads each tenant's rules. `implicit` are the providers that are routes by
    themselves as long as no route names them, `has_adapter` says which adapters tenants have.
    """

    def __init__(
        self,
        where: Path | str,
        tenants: Tenants,
        *,
        implicit: Callable[[], Sequence[Route]] = lambda: (),
        has_adapter: HasAdapter = lambda tenant, adapter, channel: False,
    ) -> None:
        self._where = where
        self._tenants = tenants
        self._implicit = implicit
        self._has_adapter = has_adapter

    def list(self) -> tuple[Route, ...]:
        """Every route, in order."""
        with looking(self._where) as database:
            return load_routes(database)

    def get(self, name: str) -> Route:
        """One route. Raises UnknownRoute."""
        return _find(self.list(), name)

    def add(self, document: Mapping[str, Any], actor: str, *, force: bool = False) -> Route:
        """Add a route, behind the others. Raises RouteInvalid, RouteExists, TooManyRoutes,
        TierRequired for one that is a tenant's own whose tier has none, and RouteNeeded unless
        `force`: a route takes its provider out of those that serve everybody."""
        route = _checked(document)
        with change(self._where, SECTION) as database:
            before = load_routes(database)
            if len(before) >= MOST:
                raise TooManyRoutes
            place = database.execute("SELECT coalesce(max(place), 0) + 1 FROM routes").fetchone()[0]
            row = (route.name, place, _encode(route).decode(), time.time())
            if database.execute(_INSERT, row).rowcount == 0:
                raise RouteExists(route.name)
            _check_tenants(database, route)
            look_at(database, route.tenants, "Routes")
            self._guard(database, before, (*before, route), force)
            detail = {"after": complete(route)}
            note(database, actor, NO_TENANT, "route.add", route.name, detail)
        return route

    def change(
        self, name: str, patch: Mapping[str, Any], actor: str, *, force: bool = False
    ) -> Route:
        """Change some keys by a JSON merge patch (RFC 7386); null is back to the default. Raises
        UnknownRoute, RouteInvalid, TierRequired, and RouteNeeded unless `force`."""
        if patch.get("name", name) != name:
            raise RouteInvalid([Fault("invalid_value", ("name",), "a route keeps its name")])
        with change(self._where, SECTION) as database:
            routes = load_routes(database)
            before = _find(routes, name)
            merged = {**msgspec.to_builtins(before), **patch}
            kept = {key: value for key, value in merged.items() if value is not None}
            after = _checked(kept)
            if after != before:
                _check_tenants(database, after, before.tenants)
                look_at(database, sorted({*after.tenants} - {*before.tenants}), "Routes")
                changed = tuple(after if route is before else route for route in routes)
                self._guard(database, routes, changed, force)
                database.execute(
                    "UPDATE routes SET route_json = ?, changed_at = ? WHERE name = ?",
                    (_encode(after).decode(), time.time(), name),
                )
                note(database, actor, NO_TENANT, "route.change", name, difference(before, after))
        return after

    def remove(self, name: str, actor: str, *, force: bool = False) -> None:
        """Forget a route. Raises UnknownRoute, and RouteNeeded unless `force`."""
        with change(self._where, SECTION) as database:
            routes = load_routes(database)
            before = _find(routes, name)
            left = tuple(route for route in routes if route is not before)
            self._guard(database, routes, left, force)
            database.execute("DELETE FROM routes WHERE name = ?", (name,))
            detail = {"before": complete(before)}
            note(database, actor, NO_TENANT, "route.remove", name, detail)

    def _guard(
        self, database: Database, before: Sequence[Route], after: Sequence[Route], force: bool
    ) -> None:
        if force:
            return
        implicit = self._implicit()
        found = []
        for one in stranded(
            RouteTable(before, implicit).routes,
            RouteTable(after, implicit).routes,
            self._tenants(database),
            self._has_adapter,
        ):
            if _sends(database, one):
                found.append(one)
                if len(found) == NAMED:
                    break
        if found:
            raise RouteNeeded(found)


def _sends(database: Database, one: Stranded) -> bool:
    """Whether the tenant has sent something of late, or has a sender of its own."""
    since = time.time() - _TRAFFIC
    sent = database.execute(
        "SELECT 1 FROM messages WHERE tenant = ? AND mode = 'live' AND created_at > ? LIMIT 1",
        (one.tenant, since),
    ).fetchone()
    if sent is not None:
        return True
    sender = "SELECT 1 FROM senders WHERE tenant = ? LIMIT 1"
    return one.channel == "sms" and database.execute(sender, (one.tenant,)).fetchone() is not None


def _check_tenants(database: Database, route: Route, before: Sequence[str] = ()) -> None:
    """Raises RouteInvalid for tenants that do not exist. Those that a route has had `before` may
    have gone meanwhile."""
    faults = [
        Fault("unknown_value", ("tenants", number), "There is no tenant of this id.")
        for number, tenant in enumerate(route.tenants)
        if tenant not in before
        and database.execute("SELECT 1 FROM tenants WHERE id = ?", (tenant,)).fetchone() is None
    ]
    if faults:
        raise RouteInvalid(faults)


def _find(routes: Iterable[Route], name: str) -> Route:
    for route in routes:
        if route.name == name:
            return route
    raise UnknownRoute(name)


def _checked(document: Mapping[str, Any]) -> Route:
    try:
        route = msgspec.convert(document, Route)
    except msgspec.ValidationError as error:
        raise RouteInvalid([fault_of(error)]) from None
    try:
        check(route)
    except RouteFault as fault:
        raise RouteInvalid([Fault("invalid_value", (fault.field,), fault.wrong)]) from None
    return route


def rules_of(tenants: Mapping[str, Any]) -> Iterator[tuple[str, RoutingRules]]:
    """Each tenant's id and rules, of tenants as `load_tenants` reads them."""
    for id_, tenant in tenants.items():
        if not tenant.suspended:
            yield id_, tenant.routing
