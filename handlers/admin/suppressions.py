"""/admin/v1/suppressions: the operator's list, which holds for all tenants, and each tenant's."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from domain.message import Category
from domain.suppression import EVERYBODY
from domain.tenancy import TENANT_ID
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX
from handlers.admin.requests import actor, body_of, query_of
from handlers.api.suppression_requests import CSV, DEFAULT_LIMIT, MOST, SuppressionDesk
from handlers.api.suppression_shapes import (
    ImportView,
    RemovedSuppression,
    SuppressionLookup,
    SuppressionPage,
    SuppressionView,
    import_view,
    suppression_view,
)

_Tenant = Annotated[str, msgspec.Meta(pattern=TENANT_ID)]
_Channel = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
_Address = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Categories = Annotated[list[Category], msgspec.Meta(min_length=1, max_length=3)]


class SuppressionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address to leave alone, for some categories or all; for a tenant, or for all of them."""

    channel: _Channel
    address: _Address
    categories: _Categories | None = None
    tenant: _Tenant | None = None


class LookupBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address to look up, on a tenant's list or on that of all."""

    channel: _Channel
    address: _Address
    tenant: _Tenant | None = None


class _Whose(msgspec.Struct, frozen=True):
    tenant: _Tenant | None = None


class _Page(msgspec.Struct, frozen=True):
    tenant: _Tenant | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = DEFAULT_LIMIT
    cursor: str | None = None


class _File(msgspec.Struct, frozen=True):
    channel: _Channel
    tenant: _Tenant | None = None
    category: Category | None = None


def suppressions(desk: SuppressionDesk) -> list[Operation]:
    """The operations on this resource. Without a `tenant`, each is about the list of all."""

    async def list_suppressed(request: Request) -> Response:
        """A list, newest first, without what was imported; addresses are masked."""
        query = query_of(request, _Page)
        return answer(await desk.page(_owner(query.tenant), query.limit, query.cursor))

    async def suppress(request: Request) -> Response:
        """Put an address on a list. 201 when that changed something, else 200. One that is there
        blocks what it did and the new categories: to narrow it, take it off first."""
        wanted = await body_of(request, SuppressionBody)
        entry, new = await desk.add(
            _owner(wanted.tenant), wanted.channel, wanted.address, wanted.categories, actor(request)
        )
        return answer(suppression_view(entry), 201 if new else 200)

    async def look_suppression_up(request: Request) -> Response:
        """What is held against an address, and its id."""
        wanted = await body_of(request, LookupBody)
        return answer(await desk.lookup(_owner(wanted.tenant), wanted.channel, wanted.address))

    async def lift_suppression(request: Request) -> Response:
        """Take an address off a list, by its id there."""
        tenant = query_of(request, _Whose).tenant
        return answer(await desk.remove(_owner(tenant), request.path_params["id"], actor(request)))

    async def import_suppressed(request: Request) -> Response:
        """Put every address of a CSV file (text/csv) on a list: the first cell of each line. Of
        one `category`, or of all; what is blocked already stays blocked."""
        query = query_of(request, _File)
        categories = None if query.category is None else [query.category]
        job = await desk.begin_import(
            request, _owner(query.tenant), query.channel, categories, actor(request)
        )
        return answer(import_view(job), 202)

    async def look_at_import(request: Request) -> Response:
        """How far an import is."""
        tenant = query_of(request, _Whose).tenant
        job = await desk.get_import(_owner(tenant), request.path_params["id"])
        return answer(import_view(job))

    path = PREFIX + "suppressions"
    return [
        Operation("GET", path, list_suppressed, query=_Page, answer=SuppressionPage),
        Operation("POST", path, suppress, body=SuppressionBody, answer=SuppressionView, status=201),
        Operation(
            "POST",
            path + "/lookup",
            look_suppression_up,
            body=LookupBody,
            answer=SuppressionLookup,
        ),
        Operation(
            "POST",
            path + "/imports",
            import_suppressed,
            query=_File,
            answer=ImportView,
            status=202,
            upload=CSV,
        ),
        Operation("GET", path + "/imports/{id}", look_at_import, query=_Whose, answer=ImportView),
        Operation(
            "DELETE", path + "/{id}", lift_suppression, query=_Whose, answer=RemovedSuppression
        ),
    ]


def _owner(tenant: str | None) -> str:
    return EVERYBODY if tenant is None else tenant
