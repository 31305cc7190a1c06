"""Price lists, and the price that applies to a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from domain.billing.cost import Cost, Rule
from domain.billing.money import decimal

EVERYONE: Final = ""
"""In the place of a tenant: the general list."""
ANY_ROUTE: Final = "*"
HOME: Final = "EUR"
"""The currency of a tenant without an account, where the general list has several."""
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9001, 1, 1, tzinfo=UTC)
"""A price holds from EARLIEST or later on, and from before LATEST: every place that reads it, in
whatever time zone, has these years."""


class PriceRow(msgspec.Struct, frozen=True):
    """One line of a price list, for one segment; once made it is never changed.

    It holds for `tenant` (EVERYONE: for those without a line of their own), for `channel`, for
    the carrier or adapter `route` (ANY_ROUTE: for those without a line), for numbers that begin
    with the digits `prefix`, from `valid_from` until a later line for the same. `amount` is in
    millionths of `currency`.
    """

    id: str
    channel: str
    amount: int
    currency: str
    valid_from: datetime
    tenant: str = EVERYONE
    route: str = ANY_ROUTE
    prefix: str = ""
    rule: Rule = Rule.SUBMITTED


class Price(NamedTuple):
    """What one segment costs, and when it is owed. `row` is the line that says so."""

    amount: Decimal
    currency: str
    rule: Rule
    micros: int
    row: str

    def of(self, segments: int) -> Cost:
        """The cost of an attempt of so many segments."""
        return Cost(self.micros * segments, self.currency, self.rule, segments)


class Use(NamedTuple):
    """A route that a tenant sends by."""

    tenant: str
    channel: str
    route: str


class _Table:
    """The prices of one list, channel and route, by prefix; the newest line of a prefix first."""

    __slots__ = ("by_prefix", "lengths")

    def __init__(self) -> None:
        self.by_prefix: dict[str, list[tuple[datetime, Price]]] = {}
        self.lengths: tuple[int, ...] = ()

    def add(self, row: PriceRow) -> None:
        price = Price(decimal(row.amount), row.currency, row.rule, row.amount, row.id)
        self.by_prefix.setdefault(row.prefix, []).append((row.valid_from, price))

    def close(self) -> None:
        for lines in self.by_prefix.values():
            lines.sort(key=lambda line: line[0], reverse=True)
        self.lengths = tuple(sorted(set(map(len, self.by_prefix)), reverse=True))

    def find(self, digits: str, at: datetime) -> Price | None:
        for length in self.lengths:
            # A number that is shorter than the prefix does not begin with it.
            for valid_from, price in self.by_prefix.get(digits[:length], ()):
                if valid_from <= at:
                    return price
        return None


_List = dict[tuple[str, str], _Table]


class PriceBook:
    """All prices, for looking one up in a microsecond or two. Immutable.

    `currency_of` says the currency of a tenant's account, None for a tenant without one.
    """

    def __init__(
        self,
        rows: Iterable[PriceRow] = (),
        currency_of: Callable[[str], str | None] = lambda tenant: None,
    ) -> None:
        self._lists: dict[tuple[str, str], _List] = {}
        self._currency_of = currency_of
        self.rows = tuple(rows)
        for row in self.rows:
            prices = self._lists.setdefault((row.tenant, row.currency), {})
            prices.setdefault((row.channel, row.route), _Table()).add(row)
        for prices in self._lists.values():
            for table in prices.values():
                table.close()
        self._cheapest = {
            owner: min((row.amount for row in rows if row.amount > 0), default=0)
            for owner, rows in _by_owner(self.rows).items()
        }
        general = sorted(code for tenant, code in self._lists if tenant == EVERYONE)
        self._home = HOME if HOME in general or not general else general[0]

    def __bool__(self) -> bool:
        """Whether anything has a price."""
        return bool(self._lists)

    def currency(self, tenant: str) -> str:
        """What the tenant pays in: its account's currency; without an account the general list's,
        and if that has several, HOME or else the first by name."""
        return self._currency_of(tenant) or self._home

    def price(
        self, tenant: str, route: str, channel: str, digits: str, at: datetime
    ) -> Price | None:
        """The price of one segment by the carrier or adapter `route`; None when it costs nothing.

        `digits` is a phone number without its +, empty for any other address. The tenant's own
        list goes before the general one, a line for the route before one for any route, and among
        those the longest prefix.
        """
        if not self._lists:
            return None
        currency = self.currency(tenant)
        for owner in (tenant, EVERYONE):
            prices = self._lists.get((owner, currency))
            if prices is None:
                continue
            for name in (route, ANY_ROUTE):
                table = prices.get((channel, name))
                found = None if table is None else table.find(digits, at)
                if found is not None:
                    return found
        return None

    def highest(
        self, tenant: str, routes: Iterable[str], channel: str, digits: str, at: datetime
    ) -> Price | None:
        """The highest price that a segment may come to by one of these routes; None when all of
        them are free."""
        highest = None
        for route in routes:
            price = self.price(tenant, route, channel, digits, at)
            if price is not None and (highest is None or price.micros > highest.micros):
                highest = price
        return highest

    def cheapest(self, tenant: str) -> int:
        """The lowest price of a segment in the lists that the tenant pays by, in millionths; 0
        where all is free."""
        currency = self.currency(tenant)
        found = (self._cheapest.get((owner, currency), 0) for owner in (tenant, EVERYONE))
        return min((amount for amount in found if amount), default=0)

    def lowest(
        self, tenant: str, routes: Iterable[str], channel: str, digits: str, at: datetime
    ) -> int:
        """The lowest price of a segment by those of the routes that have one, in millionths; 0 when
        all of them are free."""
        found = (self.price(tenant, route, channel, digits, at) for route in routes)
        return min(
            (price.micros for price in found if price is not None and price.micros), default=0
        )

    def listed(self, tenant: str, channel: str) -> set[str]:
        """The routes that the tenant's lists name, and ANY_ROUTE for those that they do not: where
        it is not known which of them a message may take. Not for every message."""
        currency = self.currency(tenant)
        routes = {ANY_ROUTE}
        for owner in (tenant, EVERYONE):
            for listed, route in self._lists.get((owner, currency), ()):
                if listed == channel:
                    routes.add(route)
        return routes

    def without(self, ids: Iterable[str]) -> PriceBook:
        """The book with some lines struck out."""
        gone = frozenset(ids)
        return PriceBook((row for row in self.rows if row.id not in gone), self._currency_of)


def _by_owner(rows: Iterable[PriceRow]) -> dict[tuple[str, str], list[PriceRow]]:
    found: dict[tuple[str, str], list[PriceRow]] = {}
    for row in rows:
        found.setdefault((row.tenant, row.currency), []).append(row)
    return found


def unpriced(
    before: PriceBook,
    after: PriceBook,
    removed: Iterable[PriceRow],
    uses: Iterable[Use],
    now: datetime,
) -> list[Use]:
    """The routes in use that had a price and would have none once `removed` are gone: what is
    sent by them would be free from then on."""
    rows = tuple(removed)
    found = []
    for use in uses:
        for row in rows:
            concerns = (
                row.channel == use.channel
                and row.tenant in (EVERYONE, use.tenant)
                and row.route in (ANY_ROUTE, use.route)
            )
            if not concerns:
                continue
            at = max(now, row.valid_from)
            asked = (use.tenant, use.route, use.channel, row.prefix, at)
            if before.price(*asked) is not None and after.price(*asked) is None:
                found.append(use)
                break
    return found


def digits_of(address: str) -> str:
    """What prices of a number go by: its digits; nothing for an address that is no number."""
    return address[1:] if address.startswith("+") else ""
