"""/admin/v1/retention and /admin/v1/erasures: who forgets, and forgetting in a tenant's place."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.retention.erasure import Erasures
from adapters.retention.sweeper import DUTY
from adapters.store.change import looking
from adapters.store.tenants import UnknownTenant, get_tenant
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, body_of
from handlers.admin.tenants import TenantId
from handlers.api.recipients import ErasedAddress, ErasureAnswer, addresses_of


class RetentionView(msgspec.Struct, frozen=True):
    """Until when some process has the duty to redact what is due, null when none has; and how many
    requests to forget somebody are kept, since messages of before them may be under way."""

    on_duty_until: datetime | None
    erasures_kept: int


class ErasureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a tenant shall forget: the addresses by channel, as in a message."""

    tenant: TenantId
    to: dict[str, str]


def retention(where: Path | str, erasures: Erasures) -> list[Operation]:
    """The operations on this resource, in the database `where`."""

    async def show_retention(request: Request) -> Response:
        """Whether messages are redacted whose time is over."""
        return answer(await asyncio.to_thread(_read, where))

    async def erase_for_tenant(request: Request) -> Response:
        """Forget a person in a tenant's place, as `DELETE /v1/recipients` does."""
        who, asked = actor(request), await body_of(request, ErasureRequest)
        to = addresses_of(asked.to)
        # A mistyped tenant has no messages: without this, it would be told that all is done.
        try:
            await asyncio.to_thread(get_tenant, where, asked.tenant)
        except UnknownTenant:
            raise OperatorProblem("tenant_not_found") from None
        found = await asyncio.to_thread(erasures.erase, asked.tenant, to, who)
        told = {channel: ErasedAddress(*one) for channel, one in found.items()}
        return answer(ErasureAnswer(told))

    return [
        Operation("GET", PREFIX + "retention", show_retention, answer=RetentionView),
        Operation(
            "POST",
            PREFIX + "erasures",
            erase_for_tenant,
            body=ErasureRequest,
            answer=ErasureAnswer,
        ),
    ]


def _read(where: Path | str) -> RetentionView:
    with looking(where) as database:
        row = database.execute("SELECT until FROM duties WHERE name = ?", (DUTY,)).fetchone()
        kept = database.execute("SELECT count(*) FROM erasures").fetchone()[0]
    until = None if row is None else datetime.fromtimestamp(row[0], UTC)
    return RetentionView(until, kept)
