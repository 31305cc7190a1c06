"""/v1/usage and /v1/account: what was sent, what it cost, and what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.billing.accounts import AccountState, UnknownAccount
from adapters.billing.desk import BillingDesk
from adapters.billing.usage import (
    MOST_DAYS,
    MOST_LINES,
    Asked,
    TooMuchUsage,
    UsageLine,
    UsageTotal,
    as_csv,
)
from domain.billing.money import text
from domain.channels import CHANNELS
from domain.tenancy import Scope
from handlers.admin.requests import query_of
from handlers.api import operation
from handlers.api.answers import encode
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, Problem, validation_failed

CSV: Final = "text/csv"

Today = Callable[[], date]


class UsageReport(msgspec.Struct, frozen=True):
    """The days from `first` to `last`, in UTC, and what they come to in each currency. Only what
    has a price is in it."""

    first: date
    last: date
    lines: list[UsageLine]
    totals: list[UsageTotal]


class AccountView(msgspec.Struct, frozen=True):
    """An account, in decimal text. `balance` has taken off what is charged, and `reserved`, which
    may still be given back. It may be overdrawn by `credit`; null for one without a limit. `empty`
    says that there is not even enough for the cheapest message that has a price: all that have one
    are refused until something is paid in."""

    tenant: str
    currency: str
    balance: str
    reserved: str
    credit: str | None
    empty: bool


class UsageQuery(msgspec.Struct, frozen=True):
    """The parameters of a report."""

    first: date | None = None
    last: date | None = None
    channel: str | None = None
    route: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    format: Literal["json", "csv"] = "json"


PARAMETERS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "first",
        "in": "query",
        "description": "The first day, in UTC; without it, that of the month of `last`.",
        "schema": {"type": "string", "format": "date"},
        "example": "2026-05-01",
    },
    {
        "name": "last",
        "in": "query",
        "description": "The last day, in UTC; without it, today.",
        "schema": {"type": "string", "format": "date"},
        "example": "2026-05-31",
    },
    {
        "name": "channel",
        "in": "query",
        "description": "Only this channel.",
        "schema": {"type": "string", "enum": list(CHANNELS)},
    },
    {
        "name": "route",
        "in": "query",
        "description": "Only this provider.",
        "schema": {"type": "string", "maxLength": 100},
    },
    {
        "name": "format",
        "in": "query",
        "description": "`csv` for a table with a heading.",
        "schema": {"type": "string", "enum": ["json", "csv"], "default": "json"},
    },
)


def utc_today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


def add_routes(router: APIRouter, desk: BillingDesk | None) -> None:
    """Serve both; without a desk they answer that they are not there."""

    async def show_usage(request: Request) -> Response:
        """What was charged by day, channel and route. A day is one in UTC, and an attempt counts
        for the day on which it was made."""
        if desk is None:
            raise Problem("not_found")
        query = query_of(request, UsageQuery)
        return await usage(desk, query, principal_of(request).tenant)

    async def show_account(request: Request) -> Response:
        """Your account: what is left of it, and what is set aside for messages under way."""
        if desk is None:
            raise Problem("not_found")
        try:
            state = await asyncio.to_thread(desk.account, principal_of(request).tenant)
        except UnknownAccount:
            raise Problem("account_not_found") from None
        return Response(encode(account_view(state)), media_type="application/json")

    operation.add(
        router,
        "GET",
        "/v1/usage",
        show_usage,
        scope=Scope.USAGE,
        tag="Usage",
        summary="What was sent and what it cost",
        status=200,
        answer="UsageReport",
        other_types=["text/csv"],
        parameters=PARAMETERS,
        problems=["validation_failed"],
    )
    operation.add(
        router,
        "GET",
        "/v1/account",
        show_account,
        scope=Scope.USAGE,
        tag="Usage",
        summary="Your account",
        status=200,
        answer="AccountView",
        problems=["account_not_found"],
    )


class Reports(Protocol):
    """Where reports come from."""

    def usage(self, asked: Asked) -> tuple[list[UsageLine], list[UsageTotal]]:
        """See `adapters.billing.usage.report`. It blocks."""


async def usage(
    desk: Reports, query: UsageQuery, tenant: str | None, today: Today = utc_today
) -> Response:
    """A report in the format that is asked for. Raises Problem."""
    asked = _asked(query, tenant, today())
    try:
        lines, totals = await asyncio.to_thread(desk.usage, asked)
    except TooMuchUsage:
        detail = f"More than {MOST_LINES:,} lines: ask for fewer days, or for one tenant."
        raise validation_failed([FieldError("out_of_range", detail, parameter="first")]) from None
    if query.format == "csv":
        name = f"usage-{asked.first}-{asked.last}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(as_csv(lines), 200, headers, CSV)
    report = UsageReport(asked.first, asked.last, lines, totals)
    return Response(encode(report), media_type="application/json")


def account_view(state: AccountState) -> AccountView:
    """The account as it is shown."""
    terms = state.terms
    return AccountView(
        tenant=state.tenant,
        currency=terms.currency,
        balance=text(state.balance),
        reserved=text(state.reserved),
        credit=None if terms.credit is None else text(terms.credit),
        empty=state.empty,
    )


def _asked(query: UsageQuery, tenant: str | None, today: date) -> Asked:
    last = query.last or today
    first = query.first or last.replace(day=1)
    faults = []
    if first > last:
        faults.append(FieldError("out_of_range", "It is after `last`.", parameter="first"))
    elif last - first >= timedelta(days=MOST_DAYS):
        faults.append(FieldError("out_of_range", f"At most {MOST_DAYS} days.", parameter="first"))
    if query.channel is not None and query.channel not in CHANNELS:
        detail = f"Channels: {', '.join(CHANNELS)}."
        faults.append(FieldError("unknown_channel", detail, parameter="channel"))
    if faults:
        raise validation_failed(faults)
    return Asked(first, last, tenant, query.channel, query.route)
