"""/admin/v1/audit: who changed what, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.store.audit import AuditEntry, entries
from adapters.store.change import looking
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX
from handlers.admin.requests import query_of
from handlers.admin.tenants import Limit, TenantId


class AuditPage(msgspec.Struct, frozen=True):
    """Changes, newest first. `next_cursor` leads to the next page, null when this is the last."""

    entries: list[AuditEntry]
    next_cursor: str | None


class _Query(msgspec.Struct, frozen=True):
    tenant: TenantId | None = None
    limit: Limit = 100
    cursor: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


def audit(where: Path | str) -> list[Operation]:
    """The operations on this resource, in the database `where`. None of them changes it."""

    async def list_changes(request: Request) -> Response:
        """What operators changed, and tenants of their own settings, newest first: who, when,
        what, and what was there before."""
        query = query_of(request, _Query)

        def read() -> list[AuditEntry]:
            with looking(where) as database:
                return entries(
                    database, tenant=query.tenant, limit=query.limit + 1, before=query.cursor
                )

        found = await asyncio.to_thread(read)
        page = found[: query.limit]
        more = str(page[-1].number) if len(found) > len(page) else None
        return answer(AuditPage(page, more))

    return [Operation("GET", PREFIX + "audit", list_changes, query=_Query, answer=AuditPage)]
