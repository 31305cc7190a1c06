"""/admin/v1/senders: which senders of SMS are whose, and where they are registered."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.store import senders as store
from adapters.store.senders import StoredSender
from adapters.store.tenants import UnknownTenant
from adapters.store.tiers import TierRequired
from domain.channels import SenderProblem
from domain.channels.sms import parse_sender
from domain.compliance.senders import Sender, SenderStatus
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, body_of, query_of
from handlers.admin.tenants import known_tenant_id
from handlers.api.problems import FieldError, Problem, validation_failed

MAX_PAGE: Final = 500

Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$", examples=["DK"])]


class SenderBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known about a sender. `countries` are those that it is registered or meant for;
    without any, it is for every country that needs no registration. `reserved` keeps it from all
    other tenants once it is approved."""

    status: SenderStatus = SenderStatus.APPROVED
    countries: Annotated[tuple[Country, ...], msgspec.Meta(max_length=250)] = ()
    reserved: bool = False
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class SenderView(msgspec.Struct, frozen=True):
    """A tenant's sender."""

    tenant: str
    sender: str
    status: SenderStatus
    countries: tuple[str, ...]
    reserved: bool
    note: str
    changed_at: datetime


class SenderPage(msgspec.Struct, frozen=True):
    """Senders by tenant and name. `next_cursor` is null on the last page."""

    senders: list[SenderView]
    next_cursor: str | None


class RemovedSender(msgspec.Struct, frozen=True):
    """What is no longer there."""

    tenant: str
    sender: str


class _Query(msgspec.Struct, frozen=True):
    tenant: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: str = ""


def senders(where: Path | str) -> list[Operation]:
    """The operations on this resource, in the database `where`."""

    async def list_senders(request: Request) -> Response:
        """The senders of one tenant, or of all, a page at a time."""
        query = query_of(request, _Query)
        after = _position(query.cursor)
        found = await asyncio.to_thread(
            store.page, where, query.tenant or None, limit=query.limit + 1, after=after
        )
        page = found[: query.limit]
        more = store.position(page[-1].sender) if len(found) > len(page) else None
        return answer(SenderPage([_view(one) for one in page], more))

    async def show_sender(request: Request) -> Response:
        """One sender of a tenant."""
        tenant, sender = _named(request)
        found = await asyncio.to_thread(store.get, where, tenant, sender)
        if found is None:
            raise OperatorProblem("sender_not_found")
        return answer(_view(found))

    async def put_sender(request: Request) -> Response:
        """Say what becomes of a tenant's sender; one that is there already is changed. Every
        process goes by it within a second."""
        who, (tenant, name) = actor(request), _named(request)
        body = await body_of(request, SenderBody)
        try:
            name = parse_sender(name)
        except SenderProblem as problem:
            error = FieldError(problem.code, problem.detail, parameter="sender")
            raise validation_failed([error]) from None
        countries = tuple(sorted(set(body.countries)))
        sender = Sender(tenant, name, body.status, countries, body.reserved, body.note)
        try:
            stored = await asyncio.to_thread(store.put, where, sender, actor=who)
        except UnknownTenant:
            raise OperatorProblem("tenant_not_found") from None
        except TierRequired as error:
            raise Problem("tier_required", str(error)) from None
        return answer(_view(stored))

    async def remove_sender(request: Request) -> Response:
        """Forget a tenant's sender: it is then one like any other."""
        who, (tenant, sender) = actor(request), _named(request)
        if not await asyncio.to_thread(store.remove, where, tenant, sender, actor=who):
            raise OperatorProblem("sender_not_found")
        return answer(RemovedSender(tenant, sender))

    every, one = PREFIX + "senders", PREFIX + "senders/{tenant}/{sender}"
    return [
        Operation("GET", every, list_senders, query=_Query, answer=SenderPage),
        Operation("GET", one, show_sender, answer=SenderView),
        Operation("PUT", one, put_sender, body=SenderBody, answer=SenderView),
        Operation("DELETE", one, remove_sender, answer=RemovedSender),
    ]


def _named(request: Request) -> tuple[str, str]:
    return known_tenant_id(request.path_params["tenant"]), request.path_params["sender"]


def _position(cursor: str) -> tuple[str, str] | None:
    tenant, _, folded = cursor.partition("/")
    return (tenant, folded) if cursor else None


def _view(stored: StoredSender) -> SenderView:
    sender = stored.sender
    return SenderView(
        sender.tenant,
        sender.sender,
        sender.status,
        sender.countries,
        sender.reserved,
        sender.note,
        stored.changed_at,
    )
