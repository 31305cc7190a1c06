"""/admin/v1/prices: the price lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.billing import accounts
from adapters.billing import prices as store
from adapters.billing.prices import (
    CurrencyDiffers,
    CurrencyUnpriced,
    PriceExists,
    PriceNeeded,
    UnknownPrice,
    new_id,
)
from adapters.store import tenants
from adapters.store.change import change, looking
from adapters.store.database import Database
from domain.billing import money
from domain.billing.cost import Rule
from domain.billing.prices import ANY_ROUTE, EARLIEST, EVERYONE, LATEST, PriceRow
from domain.channels import CHANNELS
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, body_of, query_of
from handlers.api.problems import FieldError, pointer, validation_failed

MOST_AT_ONCE: Final = 300
MAX_PAGE: Final = 1000

Amount = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$",
        description="For one segment: decimal text, below a million, with up to six decimals.",
        examples=["0.0075"],
    ),
]
Route = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,99})$",
        description="A carrier's or an adapter's name, or * for any.",
        examples=["telia"],
    ),
]
Prefix = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{0,15}$",
        description="Up to 15 digits, without the + before them.",
        examples=["45"],
    ),
]


class PriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a price list, for one segment.

    Of the lines that fit, a tenant's own go before the general ones (without `tenant`), those that
    name the carrier or adapter before those with the route `*`, and the longest prefix of the
    number before shorter ones. It holds from `valid_from` on, in the years 1970 to 9000, now if
    that is left out, until another line for the same. It is owed once the
    provider has taken a message (`submitted`), or once that is proven to have arrived
    (`delivered`).
    """

    channel: str
    amount: Amount
    currency: Annotated[str, msgspec.Meta(examples=["EUR"])]
    tenant: str | None = None
    route: Route = ANY_ROUTE
    prefix: Prefix = ""
    rule: Rule = Rule.SUBMITTED
    valid_from: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class PricesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines that are added together, all or none."""

    prices: Annotated[tuple[PriceBody, ...], msgspec.Meta(min_length=1, max_length=MOST_AT_ONCE)]


class PriceView(msgspec.Struct, frozen=True):
    """A line of a price list."""

    id: str
    tenant: str | None
    channel: str
    route: str
    prefix: str
    amount: str
    currency: str
    rule: Rule
    valid_from: datetime


class PriceList(msgspec.Struct, frozen=True):
    """Lines, in the order of what they are for. `next_cursor` is null on the last page."""

    prices: list[PriceView]
    next_cursor: str | None = None


class _Query(msgspec.Struct, frozen=True):
    tenant: str | None = None
    channel: str | None = None
    route: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0


class _Adding(msgspec.Struct, frozen=True):
    force: Annotated[
        bool,
        msgspec.Meta(description="Also a tenant's own in another currency than its account's."),
    ] = False


class _Removal(msgspec.Struct, frozen=True):
    force: bool = False


def prices(where: Path | str) -> list[Operation]:
    """The operations on this resource, in the database `where`."""

    async def list_prices(request: Request) -> Response:
        """The price lists, a page at a time. An empty `tenant` asks for the general list."""
        query = query_of(request, _Query)
        rows = [
            row
            for row in await asyncio.to_thread(_rows, where)
            if query.tenant in (None, row.tenant)
            and query.channel in (None, row.channel)
            and query.route in (None, row.route)
        ]
        end = query.cursor + query.limit
        more = str(end) if len(rows) > end else None
        return answer(PriceList([_view(row) for row in rows[query.cursor : end]], more))

    async def add_prices(request: Request) -> Response:
        """Add lines to the price lists, all or none. A line is never changed: add one that holds
        from a later moment on. Every process charges by it within a second."""
        who, force = actor(request), query_of(request, _Adding).force
        body = await body_of(request, PricesBody)
        rows = _read(body, datetime.now(UTC))
        with _told():
            await asyncio.to_thread(_add, where, rows, who, force)
        return answer(PriceList([_view(row) for row in rows]), 201)

    async def remove_price(request: Request) -> Response:
        """Strike a line out. That is refused while a route that a tenant used within 30 days would
        have no price without it, and so be free, or an account's currency none at all;
        `force=true` does it all the same."""
        who, force = actor(request), query_of(request, _Removal).force
        with _told():
            await asyncio.to_thread(_remove, where, _id(request), who, force)
        return Response(status_code=204)

    every, one = PREFIX + "prices", PREFIX + "prices/{id}"
    return [
        Operation("GET", every, list_prices, query=_Query, answer=PriceList),
        Operation(
            "POST",
            every,
            add_prices,
            query=_Adding,
            body=PricesBody,
            answer=PriceList,
            status=201,
        ),
        Operation("DELETE", one, remove_price, query=_Removal, status=204),
    ]


def _rows(where: Path | str) -> tuple[PriceRow, ...]:
    with looking(where) as database:
        return store.load_rows(database)


def _add(where: Path | str, rows: list[PriceRow], who: str, force: bool) -> None:
    with change(where, store.SECTION) as database:
        known = tenants.load_tenants(database)
        for number, row in enumerate(rows):
            if row.tenant != EVERYONE and row.tenant not in known:
                detail = "There is no tenant of this id."
                at = pointer(("prices", number, "tenant"))
                raise validation_failed([FieldError("unknown_value", detail, at)])
        store.add(database, rows, who, _currencies(database), force=force)


def _remove(where: Path | str, id_: str, who: str, force: bool) -> None:
    with change(where, store.SECTION) as database:
        store.remove(database, [id_], who, _currencies(database), force=force)


def _currencies(database: Database) -> Callable[[str], str | None]:
    """The currency of each tenant's account."""
    terms = accounts.load_terms(database)
    return lambda tenant: terms[tenant].currency if tenant in terms else None


def _read(body: PricesBody, now: datetime) -> list[PriceRow]:
    """The lines, or every fault in them. Raises Problem."""
    faults: list[FieldError] = []
    rows = []
    for number, line in enumerate(body.prices):
        at = ("prices", number)
        if line.channel not in CHANNELS:
            detail = f"Channels: {', '.join(CHANNELS)}."
            faults.append(FieldError("unknown_channel", detail, pointer((*at, "channel"))))
        if line.valid_from is not None and not EARLIEST <= line.valid_from < LATEST:
            detail = "In the years 1970 to 9000."
            faults.append(FieldError("out_of_range", detail, pointer((*at, "valid_from"))))
        try:
            money.currency(line.currency)
        except ValueError as error:
            faults.append(FieldError("unknown_value", f"{error}.", pointer((*at, "currency"))))
            continue
        rows.append(
            PriceRow(
                id=new_id(),
                channel=line.channel,
                amount=money.micros(line.amount),
                currency=line.currency,
                valid_from=line.valid_from or now,
                tenant=line.tenant or EVERYONE,
                route=line.route,
                prefix=line.prefix,
                rule=line.rule,
            )
        )
    if faults:
        raise validation_failed(faults)
    return rows


def _id(request: Request) -> str:
    id_: str = request.path_params["id"]
    if "\0" in id_:
        raise OperatorProblem("price_not_found")
    return id_


@contextmanager
def _told() -> Iterator[None]:
    """What the store refuses, as problems."""
    try:
        yield
    except PriceExists as error:
        row = error.row
        place = f"{row.channel}, route {row.route}, prefix {row.prefix or 'any'}, {row.currency}"
        detail = f"{place}: there is a price from {row.valid_from.isoformat()} on."
        raise OperatorProblem("price_exists", detail) from None
    except UnknownPrice:
        raise OperatorProblem("price_not_found") from None
    except CurrencyDiffers as error:
        detail = f"{error.row.tenant} pays in {error.currency}, not in {error.row.currency}."
        raise OperatorProblem("currency_differs", detail) from None
    except CurrencyUnpriced as error:
        detail = f"{error.tenant} pays in {error.currency}, and would pay nothing."
        raise OperatorProblem("currency_unpriced", detail) from None
    except PriceNeeded as error:
        routes = ", ".join(f"{use.tenant} by {use.route} ({use.channel})" for use in error.uses[:5])
        more = f" and {len(error.uses) - 5} more" if len(error.uses) > 5 else ""
        raise OperatorProblem("price_needed", f"Free without it: {routes}{more}.") from None


def _view(row: PriceRow) -> PriceView:
    return PriceView(
        id=row.id,
        tenant=row.tenant or None,
        channel=row.channel,
        route=row.route,
        prefix=row.prefix,
        amount=money.text(row.amount),
        currency=row.currency,
        rule=row.rule,
        valid_from=row.valid_from,
    )
