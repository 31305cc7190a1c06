"""/admin/v1/tenants: list, add, look at, change. Suspending one is a change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.store.tenant_settings import SettingsInvalid, complete
from adapters.store.tenants import (
    StoredTenant,
    TenantExists,
    TenantIdInvalid,
    UnknownTenant,
    add_tenant,
    change_tenant,
    get_tenant,
    list_tenants,
)
from adapters.store.tiers import TierInUse, TierRequired
from domain.tenancy import TENANT_ID, Tenant
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, json_object, query_of
from handlers.api.problems import FieldError, Problem, pointer, validation_failed

MAX_PAGE: Final = 500

TenantId = Annotated[str, msgspec.Meta(pattern=TENANT_ID)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


class TenantPage(msgspec.Struct, frozen=True):
    """Tenants by their ids. `next_cursor` leads to the next page, null when this is the last."""

    tenants: list[TenantView]
    next_cursor: str | None


class TenantView(msgspec.Struct, frozen=True):
    """A tenant: all its settings, and which of them are not the defaults."""

    id: str
    created_at: datetime
    settings: dict[str, Any]
    changed: dict[str, Any]


class _Query(msgspec.Struct, frozen=True):
    limit: Limit = 100
    cursor: str = ""


def tenants(where: Path | str) -> list[Operation]:
    """The operations on this resource, in the database `where`."""

    async def list_all_tenants(request: Request) -> Response:
        """Every tenant with its settings, by id, a page at a time."""
        query = query_of(request, _Query)
        # One more than asked for tells whether there is another page.
        found = await asyncio.to_thread(
            list_tenants, where, limit=query.limit + 1, after=query.cursor
        )
        page = found[: query.limit]
        more = page[-1].tenant.id if len(found) > len(page) else None
        return answer(TenantPage([_view(each) for each in page], more))

    async def add_a_tenant(request: Request) -> Response:
        """Add a tenant: its `id`, and those settings that are not to be the defaults."""
        who, settings = actor(request), await json_object(request)
        tenant = settings.pop("id", None)
        if not isinstance(tenant, str):
            raise validation_failed([FieldError("required", "A text.", "/id")])
        with _told():
            made = await asyncio.to_thread(add_tenant, where, tenant, settings, actor=who)
        return answer(_view(made), 201)

    async def show_tenant(request: Request) -> Response:
        """One tenant with its settings."""
        with _told():
            return answer(_view(await asyncio.to_thread(get_tenant, where, _id(request))))

    async def change_settings(request: Request) -> Response:
        """Change settings by a JSON merge patch (RFC 7386); null is back to the default. Every
        process uses them within a second. `{"suspended": true}` stops what the tenant sends. A
        tier is not lowered as long as the tenant has what it no longer covers."""
        who, patch = actor(request), await json_object(request)
        with _told():
            changed = await asyncio.to_thread(change_tenant, where, _id(request), patch, actor=who)
        return answer(_view(changed))

    every, one = PREFIX + "tenants", PREFIX + "tenants/{id}"
    return [
        Operation("GET", every, list_all_tenants, query=_Query, answer=TenantPage),
        Operation("POST", every, add_a_tenant, body=Tenant, answer=TenantView, status=201),
        Operation("GET", one, show_tenant, answer=TenantView),
        Operation("PATCH", one, change_settings, answer=TenantView),
    ]


def known_tenant_id(text: str) -> str:
    """A tenant's id that a request names. Raises OperatorProblem for what cannot be one."""
    if re.fullmatch(TENANT_ID, text) is None:
        raise OperatorProblem("tenant_not_found")
    return text


def _id(request: Request) -> str:
    return known_tenant_id(request.path_params["id"])


@contextmanager
def _told() -> Iterator[None]:
    """What the store refuses, as problems."""
    try:
        yield
    except UnknownTenant:
        raise OperatorProblem("tenant_not_found") from None
    except TenantExists:
        raise OperatorProblem("tenant_exists") from None
    except TenantIdInvalid as error:
        raise validation_failed([FieldError("invalid_value", str(error), "/id")]) from None
    except TierRequired as error:
        raise Problem("tier_required", str(error)) from None
    except TierInUse as error:
        raise OperatorProblem("tier_in_use", f"In the way: {error}.") from None
    except SettingsInvalid as error:
        raise validation_failed(
            [FieldError(fault.code, fault.detail, pointer(fault.path)) for fault in error.faults]
        ) from None


def _view(stored: StoredTenant) -> TenantView:
    settings = complete(stored.tenant)
    del settings["id"]
    return TenantView(stored.tenant.id, stored.created_at, settings, stored.changed)
