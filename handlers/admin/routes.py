"""/admin/v1/routes: list, add, look at, change, remove, and explain a choice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.routing.store import (
    MOST,
    RouteExists,
    RouteInvalid,
    RouteNeeded,
    RouteStore,
    TooManyRoutes,
    UnknownRoute,
)
from adapters.store.tenant_settings import complete
from adapters.store.tiers import TierRequired
from domain.message import Category
from domain.ports import TenantDirectory
from domain.routing.explanation import Explanation
from domain.routing.routes import Route
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, body_of, json_object, query_of
from handlers.admin.tenants import TenantId
from handlers.api.problems import FieldError, Problem, pointer, validation_failed
from handlers.api.routes import Explains, asked


class RouteList(msgspec.Struct, frozen=True):
    """Every route, in the order that decides when nothing else does."""

    routes: list[Route]


class RemovedRoute(msgspec.Struct, frozen=True):
    """A route that is no more."""

    name: str


_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]


class OperatorExplainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that a tenant might send. `operator` is the number's network as MCC and MNC; `id`
    is a message's, or any text in its place: where traffic is divided, it decides."""

    tenant: TenantId
    to: _Text
    channel: str = "sms"
    category: Category = Category.TRANSACTIONAL
    sender: _Text | None = None
    provider: _Text | None = None
    operator: Annotated[str, msgspec.Meta(pattern="^[0-9]{5,6}$")] | None = None
    id: _Text | None = None


class _Query(msgspec.Struct, frozen=True):
    force: Annotated[bool, msgspec.Meta(description="Also if tenants lose their last route.")] = (
        False
    )


def routes(store: RouteStore, explainer: Explains, tenants: TenantDirectory) -> list[Operation]:
    """The operations on this resource."""

    async def list_routes(request: Request) -> Response:
        """Every route, with its defaults. Providers that no route names are routes by themselves,
        and not listed."""
        found = await asyncio.to_thread(store.list)
        return answer({"routes": [complete(route) for route in found]})

    async def add_route(request: Request) -> Response:
        """Add a route, behind the others. From then on its provider carries what its routes say,
        and nothing else."""
        who, force, document = actor(request), _force(request), await json_object(request)
        with _told():
            made = await asyncio.to_thread(store.add, document, who, force=force)
        return answer(complete(made), 201)

    async def show_route(request: Request) -> Response:
        """One route, with its defaults."""
        with _told():
            return answer(complete(await asyncio.to_thread(store.get, _name(request))))

    async def change_route(request: Request) -> Response:
        """Change some keys by a JSON merge patch (RFC 7386); null is back to the default."""
        who, force, patch = actor(request), _force(request), await json_object(request)
        with _told():
            changed = await asyncio.to_thread(store.change, _name(request), patch, who, force=force)
        return answer(complete(changed))

    async def remove_route(request: Request) -> Response:
        """Remove a route. A provider that no other route names is a route by itself again; disable
        the route instead, to keep it from that."""
        who, force = actor(request), _force(request)
        with _told():
            await asyncio.to_thread(store.remove, _name(request), who, force=force)
        return answer(RemovedRoute(_name(request)))

    async def explain_route(request: Request) -> Response:
        """What would become of a message now: every route with its scores, and the reason for its
        place or for being left out. Nothing is sent."""
        body = await body_of(request, OperatorExplainBody)
        if tenants.tenant(body.tenant) is None:
            raise OperatorProblem("tenant_not_found")
        return answer(await explainer.explain(asked(body, body.tenant)))

    every, one = PREFIX + "routes", PREFIX + "routes/{name}"
    return [
        Operation("GET", every, list_routes, answer=RouteList),
        Operation("POST", every, add_route, body=Route, answer=Route, query=_Query, status=201),
        Operation(
            "POST",
            PREFIX + "routes/explain",
            explain_route,
            body=OperatorExplainBody,
            answer=Explanation,
        ),
        Operation("GET", one, show_route, answer=Route),
        Operation("PATCH", one, change_route, answer=Route, query=_Query),
        Operation("DELETE", one, remove_route, answer=RemovedRoute, query=_Query),
    ]


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name


def _force(request: Request) -> bool:
    return query_of(request, _Query).force


@contextmanager
def _told() -> Iterator[None]:
    """What the store refuses, as problems."""
    try:
        yield
    except UnknownRoute:
        raise OperatorProblem("route_not_found") from None
    except RouteExists:
        raise OperatorProblem("route_exists") from None
    except TierRequired as error:
        raise Problem("tier_required", str(error)) from None
    except TooManyRoutes:
        raise OperatorProblem("too_many_routes", f"There may be {MOST} routes.") from None
    except RouteInvalid as error:
        raise validation_failed(
            [FieldError(fault.code, fault.detail, pointer(fault.path)) for fault in error.faults]
        ) from None
    except RouteNeeded as error:
        who = ", ".join(f"{one.tenant} ({one.channel})" for one in error.stranded)
        raise OperatorProblem("route_needed", f"No route would be left to: {who}.") from None
