"""Price lists in the database.

What changes them is called in a transaction that has touched SECTION (`adapters.store.change`).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from adapters.store.audit import note
from adapters.store.database import Database
from domain.billing.cost import Rule
from domain.billing.money import text
from domain.billing.prices import EVERYONE, PriceBook, PriceRow, Use, unpriced

SECTION: Final = "prices"
IN_USE: Final = 30
"""Days back in which a tenant must have sent by a route for the route to be in use."""

_COLUMNS: Final = "id, tenant, currency, channel, route, prefix, valid_from, amount, rule"
_LOAD: Final = (
    f"SELECT {_COLUMNS} FROM prices ORDER BY tenant, currency, channel, route, prefix, valid_from"
)
_ADD: Final = (
    f"INSERT INTO prices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
# What holds at a place when another line is to begin there; without those that cannot be read.
_IN_FORCE: Final = (
    "SELECT valid_from, amount, rule FROM prices WHERE tenant = ? AND currency = ? AND channel = ?"
    " AND route = ? AND prefix = ? AND valid_from BETWEEN 0 AND ? ORDER BY valid_from DESC LIMIT 1"
)
# Whose account's currency none of the lists has that they pay by, while others pay.
_UNPRICED: Final = """
    SELECT tenant, currency FROM accounts
    WHERE EXISTS (SELECT 1 FROM prices) AND NOT EXISTS (
        SELECT 1 FROM prices WHERE prices.currency = accounts.currency
        AND prices.tenant IN ('', accounts.tenant)
    ) ORDER BY tenant
"""
_PRICED: Final = "SELECT 1 FROM prices WHERE tenant IN ('', ?) AND currency = ? LIMIT 1"
_LEAST: Final = (
    "SELECT MIN(amount) FROM prices WHERE tenant IN ('', ?) AND currency = ? AND amount > 0"
)
_USES: Final = "SELECT DISTINCT tenant, channel, route FROM usage WHERE day >= ?"
NobodysCurrency: Final[Callable[[str], str | None]] = lambda tenant: None  # noqa: E731
_unreadable: Final[set[str]] = set()
"""Prices of which it was said that they cannot be read."""
_logger: Final = logging.getLogger(__name__)


class PriceExists(Exception):
    """There is another price for the same place from the same moment on, or one that says the same
    holds by then. It says which."""

    def __init__(self, row: PriceRow) -> None:
        super().__init__(row.id)
        self.row = row


class UnknownPrice(Exception):
    """No price has this id."""


class PriceNeeded(Exception):
    """Without the price, routes in use would be free."""

    def __init__(self, uses: Sequence[Use]) -> None:
        super().__init__(f"{len(uses)} routes in use")
        self.uses = tuple(uses)


class CurrencyDiffers(Exception):
    """A tenant's own price is in another currency than its account: it would never be paid."""

    def __init__(self, row: PriceRow, currency: str) -> None:
        super().__init__(f"{row.tenant} pays in {currency}")
        self.row = row
        self.currency = currency


class CurrencyUnpriced(Exception):
    """No list has a price in an account's currency: whatever its tenant sends would be free."""

    def __init__(self, tenant: str, currency: str) -> None:
        super().__init__(f"{tenant} pays in {currency}")
        self.tenant = tenant
        self.currency = currency


def new_id() -> str:
    """The id of a new price."""
    return f"prc_{secrets.token_hex(8)}"


def load_rows(database: Database) -> tuple[PriceRow, ...]:
    """Every price, in the order of their places. One that cannot be read is left out, and logged
    once: no process should fail to start for it."""
    return tuple(_readable(database.execute(_LOAD).fetchall()))


def unpriced_accounts(database: Database) -> dict[str, str]:
    """The accounts whose tenants send for nothing although there are prices, since no list is in
    their currency, by tenant."""
    return dict(database.execute(_UNPRICED).fetchall())


def check_priced(database: Database, tenant: str, currency: str) -> None:
    """Raises CurrencyUnpriced for such an account."""
    if database.execute("SELECT 1 FROM prices LIMIT 1").fetchone() is None:
        return
    if database.execute(_PRICED, (tenant, currency)).fetchone() is None:
        raise CurrencyUnpriced(tenant, currency)


def least(database: Database, tenant: str, currency: str) -> int:
    """The lowest price of a segment in the lists that an account pays by; 0 where all is free."""
    found: int | None = database.execute(_LEAST, (tenant, currency)).fetchone()[0]
    return found or 0


def add(
    database: Database,
    rows: Iterable[PriceRow],
    actor: str,
    currency_of: Callable[[str], str | None] = NobodysCurrency,
    *,
    force: bool = False,
) -> None:
    """Add prices, all or none. Raises PriceExists, and CurrencyDiffers for a tenant's own one in
    another currency than its account's, `currency_of` it, unless `force`."""
    added = tuple(rows)
    for row in added:
        currency = None if row.tenant == EVERYONE else currency_of(row.tenant)
        if currency is not None and currency != row.currency and not force:
            raise CurrencyDiffers(row, currency)
        values = (
            row.id,
            row.tenant,
            row.currency,
            row.channel,
            row.route,
            row.prefix,
            row.valid_from.timestamp(),
            row.amount,
            row.rule.value,
        )
        in_force = database.execute(_IN_FORCE, values[1:7]).fetchone()
        if in_force is not None and (in_force[1], in_force[2]) == (row.amount, row.rule.value):
            since = datetime.fromtimestamp(in_force[0], UTC)
            raise PriceExists(msgspec.structs.replace(row, valid_from=since))
        if database.execute(_ADD, values).rowcount != 1:
            raise PriceExists(row)
    for row in added[:1] if len(added) > 1 else added:
        more = {"and": len(added) - 1} if len(added) > 1 else {}
        note(database, actor, row.tenant, "price.add", row.id, {**_told(row), **more})


def remove(
    database: Database,
    ids: Sequence[str],
    actor: str,
    currency_of: Callable[[str], str | None] = NobodysCurrency,
    *,
    force: bool = False,
) -> None:
    """Strike prices out, all or none; also those that cannot be read.

    Raises UnknownPrice; and unless `force` PriceNeeded when a route that a tenant used of late
    would be free, and CurrencyUnpriced when everything would be for some account.
    """
    rows = load_rows(database)
    known = {row.id: row for row in rows}
    for id_ in ids:
        if id_ not in known:
            if database.execute("DELETE FROM prices WHERE id = ?", (id_,)).rowcount != 1:
                raise UnknownPrice(id_)
            note(database, actor, EVERYONE, "price.remove", id_, {"unreadable": True})
    removed = [known[id_] for id_ in ids if id_ in known]
    free_before = {} if force else unpriced_accounts(database)
    if not force:
        now = datetime.now(UTC)
        before = PriceBook(rows, currency_of)
        uses = uses_since(database, time.time() - IN_USE * 86400)
        needed = unpriced(before, before.without(ids), removed, uses, now)
        if needed:
            raise PriceNeeded(needed)
    for row in removed:
        database.execute("DELETE FROM prices WHERE id = ?", (row.id,))
        note(database, actor, row.tenant, "price.remove", row.id, _told(row))
    free_after = {} if force else unpriced_accounts(database)
    for tenant, currency in free_after.items():
        if tenant not in free_before:
            raise CurrencyUnpriced(tenant, currency)


def uses_since(database: Database, moment: float) -> list[Use]:
    """Which routes tenants were charged for since then, seconds since 1970."""
    day = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
    return [Use(*row) for row in database.execute(_USES, (day,)).fetchall()]


def _readable(rows: Iterable[Sequence[Any]]) -> Iterator[PriceRow]:
    for row in rows:
        try:
            yield _read(row)
        except (ValueError, OverflowError, OSError) as error:
            if row[0] not in _unreadable:
                _unreadable.add(row[0])
                _logger.error("price %s is left out, remove it: %s", row[0], error)


def _read(row: Sequence[Any]) -> PriceRow:
    id_, tenant, currency, channel, route, prefix, valid_from, amount, rule = row
    return PriceRow(
        id_, channel, amount, currency, datetime.fromtimestamp(valid_from, UTC), tenant, route,
        prefix, Rule(rule),
    )  # fmt: skip


def _told(row: PriceRow) -> dict[str, Any]:
    return {
        "channel": row.channel,
        "route": row.route,
        "prefix": row.prefix,
        "amount": text(row.amount),
        "currency": row.currency,
        "rule": row.rule.value,
        "valid_from": row.valid_from.isoformat(),
    }
