"""Price lists in the database.

What changes them is called in a transaction that has touched SECTION (`adapters.store.change`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from adapters.store.audit import note
from adapters.store.database import Database
from domain.billing.cost import Rule
from domain.billing.money import text
from domain.billing.prices import PriceBook, PriceRow, Use, unpriced

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
_USES: Final = "SELECT DISTINCT tenant, channel, route FROM usage WHERE day >= ?"
NobodysCurrency: Final[Callable[[str], str | None]] = lambda tenant: None  # noqa: E731


class PriceExists(Exception):
    """There is another price for the same place from the same moment on. It says which."""

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


def new_id() -> str:
    """The id of a new price."""
    return f"prc_{secrets.token_hex(8)}"


def load_rows(database: Database) -> tuple[PriceRow, ...]:
    """Every price, in the order of their places."""
    return tuple(map(_read, database.execute(_LOAD).fetchall()))


def add(database: Database, rows: Iterable[PriceRow], actor: str) -> None:
    """Add prices, all or none. Raises PriceExists."""
    added = tuple(rows)
    for row in added:
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
    """Strike prices out, all or none.

    Raises UnknownPrice, and PriceNeeded when a route that a tenant used of late would be free,
    unless `force`.
    """
    rows = load_rows(database)
    known = {row.id: row for row in rows}
    for id_ in ids:
        if id_ not in known:
            raise UnknownPrice(id_)
    removed = [known[id_] for id_ in ids]
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


def uses_since(database: Database, moment: float) -> list[Use]:
    """Which routes tenants were charged for since then, seconds since 1970."""
    day = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
    return [Use(*row) for row in database.execute(_USES, (day,)).fetchall()]


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
