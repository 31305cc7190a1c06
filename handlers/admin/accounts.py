"""/admin/v1/accounts and /admin/v1/usage: what tenants may spend, and what they spent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.billing import accounts as store
from adapters.billing import prices
from adapters.billing.accounts import (
    BalanceTooLarge,
    CurrencyFixed,
    Entry,
    EntryExists,
    EntryKind,
    UnknownAccount,
)
from adapters.billing.prices import CurrencyUnpriced
from adapters.billing.usage import Asked, UsageLine, UsageTotal, report
from adapters.store.change import change, looking
from adapters.store.tenants import UnknownTenant, get_tenant
from domain.billing import money
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, body_of, query_of
from handlers.admin.tenants import known_tenant_id
from handlers.api.problems import FieldError, Problem, validation_failed
from handlers.api.usage import AccountView, UsageQuery, UsageReport, account_view, usage

MAX_PAGE: Final = 500

Positive = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$", examples=["250.00"])]
Signed = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$", examples=["250.00"])]


class AccountBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an account allows. It may be overdrawn by `credit`: 0 for one that is paid in advance,
    null for one without a limit. The currency is fixed once something was posted or charged."""

    currency: Annotated[str, msgspec.Meta(examples=["EUR"])]
    credit: Positive | None = "0"


class EntryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount to post, in the account's currency: a payment, or a correction, which may be below
    zero. The same `reference` again changes nothing."""

    amount: Signed
    reference: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,100}$", examples=["invoice 2026-17"])]
    kind: EntryKind = EntryKind.TOP_UP
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class EntryView(msgspec.Struct, frozen=True):
    """What was posted to an account beside the messages."""

    reference: str
    kind: EntryKind
    amount: str
    currency: str
    note: str
    actor: str
    at: datetime


class EntryPage(msgspec.Struct, frozen=True):
    """Entries, the newest first. `next_cursor` is null on the last page."""

    entries: list[EntryView]
    next_cursor: str | None


class AccountList(msgspec.Struct, frozen=True):
    """Every account, by tenant."""

    accounts: list[AccountView]


class _Change(msgspec.Struct, frozen=True):
    force: Annotated[
        bool, msgspec.Meta(description="Also in a currency in which nothing has a price.")
    ] = False


class _Page(msgspec.Struct, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 50
    cursor: str = ""


class OperatorUsageQuery(UsageQuery, frozen=True):
    """The parameters of a report: of one tenant, or of all."""

    tenant: str | None = None
    format: Literal["json", "csv"] = "json"


class _Reports:
    """The reports of this database; see `adapters.billing.desk.BillingDesk`."""

    def __init__(self, where: Path | str) -> None:
        self._where = where

    def usage(self, asked: Asked) -> tuple[list[UsageLine], list[UsageTotal]]:
        """It blocks."""
        with looking(self._where) as database:
            return report(database, asked)


def accounts(where: Path | str) -> list[Operation]:
    """The operations on these resources, in the database `where`."""

    async def list_accounts(request: Request) -> Response:
        """Every account as it stands."""
        states = await asyncio.to_thread(_states, where)
        return answer(AccountList([account_view(state) for state in states]))

    async def show_account(request: Request) -> Response:
        """A tenant's account as it stands. Its balance follows what is sent within a second."""
        with _told():
            state = await asyncio.to_thread(_state, where, _tenant(request))
        return answer(account_view(state))

    async def put_account(request: Request) -> Response:
        """Open an account for a tenant, or change what it allows. A new one is empty: with no
        credit, nothing that has a price is accepted until something is paid in. Where there are
        prices, but none in its currency, it is refused: everything would be free."""
        who, tenant, force = actor(request), _tenant(request), query_of(request, _Change).force
        body = await body_of(request, AccountBody)
        try:
            money.currency(body.currency)
        except ValueError as error:
            fault = FieldError("unknown_value", f"{error}.", "/currency")
            raise validation_failed([fault]) from None
        credit = None if body.credit is None else money.micros(body.credit)
        with _told():
            state = await asyncio.to_thread(_set, where, tenant, body.currency, credit, who, force)
        return answer(account_view(state))

    async def post_entry(request: Request) -> Response:
        """Post a payment or a correction. Safe to repeat with the same reference."""
        who, tenant = actor(request), _tenant(request)
        body = await body_of(request, EntryBody)
        amount = money.micros(body.amount)
        if amount == 0 or (amount < 0 and body.kind is EntryKind.TOP_UP):
            detail = "Above zero; a correction may be below." if amount else "Not zero."
            raise validation_failed([FieldError("out_of_range", detail, "/amount")])
        try:
            with _told():
                entry = await asyncio.to_thread(_post, where, tenant, body, amount, who)
        except BalanceTooLarge:
            detail = f"No account may come to more than {money.LARGEST_SUM // money.MICROS:,}."
            raise validation_failed([FieldError("out_of_range", detail, "/amount")]) from None
        return answer(_view(entry), 201)

    async def list_entries(request: Request) -> Response:
        """What was posted to an account beside the messages, the newest first."""
        tenant, query = _tenant(request), query_of(request, _Page)
        before = _position(query.cursor)
        with _told():
            found = await asyncio.to_thread(_entries, where, tenant, query.limit + 1, before)
        page = found[: query.limit]
        more = None
        if len(found) > len(page):
            more = f"{page[-1].at.isoformat()}|{page[-1].reference}"
        return answer(EntryPage([_view(entry) for entry in page], more))

    async def show_usage(request: Request) -> Response:
        """What was charged by tenant, day, channel and route, of one tenant or of all. A day is
        one in UTC, and an attempt counts for the day on which it was made."""
        query = query_of(request, OperatorUsageQuery)
        tenant = None if query.tenant is None else known_tenant_id(query.tenant)
        return await usage(_Reports(where), query, tenant)

    every, one = PREFIX + "accounts", PREFIX + "accounts/{tenant}"
    return [
        Operation("GET", every, list_accounts, answer=AccountList),
        Operation("GET", one, show_account, answer=AccountView),
        Operation("PUT", one, put_account, query=_Change, body=AccountBody, answer=AccountView),
        Operation("GET", one + "/entries", list_entries, query=_Page, answer=EntryPage),
        Operation(
            "POST", one + "/entries", post_entry, body=EntryBody, answer=EntryView, status=201
        ),
        Operation(
            "GET",
            PREFIX + "usage",
            show_usage,
            query=OperatorUsageQuery,
            answer=UsageReport,
            other_types=("text/csv",),
        ),
    ]


def _states(where: Path | str) -> list[store.AccountState]:
    with looking(where) as database:
        return store.states(database)


def _state(where: Path | str, tenant: str) -> store.AccountState:
    with looking(where) as database:
        return store.state_of(database, tenant)


def _set(
    where: Path | str, tenant: str, currency: str, credit: int | None, who: str, force: bool
) -> store.AccountState:
    get_tenant(where, tenant)
    # The prices, too: the last one in the currency must not go while it is looked for.
    with change(where, store.SECTION, prices.SECTION) as database:
        store.set_terms(database, tenant, currency, credit, who, force=force)
        return store.state_of(database, tenant)


def _post(where: Path | str, tenant: str, body: EntryBody, amount: int, who: str) -> Entry:
    with change(where, store.SECTION) as database:
        return store.post(database, tenant, body.reference, body.kind, amount, body.note, who)


def _entries(
    where: Path | str, tenant: str, limit: int, before: tuple[float, str] | None
) -> list[Entry]:
    with looking(where) as database:
        store.terms_of(database, tenant)
        return store.entries(database, tenant, limit=limit, before=before)


def _tenant(request: Request) -> str:
    return known_tenant_id(request.path_params["tenant"])


def _position(cursor: str) -> tuple[float, str] | None:
    if not cursor:
        return None
    at, _, reference = cursor.partition("|")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise Problem("invalid_cursor") from None
    # Not in UTC: the first and the last day that can be written may have none there.
    if moment.tzinfo is None or not 1970 < moment.year < 9999:
        raise Problem("invalid_cursor")
    return moment.timestamp(), reference


@contextmanager
def _told() -> Iterator[None]:
    """What the store refuses, as problems."""
    try:
        yield
    except UnknownTenant:
        raise OperatorProblem("tenant_not_found") from None
    except UnknownAccount:
        raise OperatorProblem("no_account") from None
    except CurrencyUnpriced as error:
        raise OperatorProblem("currency_unpriced", f"No price is in {error.currency}.") from None
    except CurrencyFixed:
        raise OperatorProblem("currency_fixed") from None
    except EntryExists:
        raise OperatorProblem("entry_exists") from None


def _view(entry: Entry) -> EntryView:
    return EntryView(
        reference=entry.reference,
        kind=entry.kind,
        amount=money.text(entry.amount),
        currency=entry.currency,
        note=entry.note,
        actor=entry.actor,
        at=entry.at,
    )
