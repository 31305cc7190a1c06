"""Tenants' accounts in the database: their terms, what is posted to them, and what they have.

What changes an account's terms is called in a transaction that has touched SECTION
(`adapters.store.change`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import msgspec

from adapters.billing import prices
from adapters.billing.ledger import Ledger, day_of
from adapters.store.audit import note
from adapters.store.database import Database
from domain.billing.money import LARGEST_SUM, text
from domain.billing.terms import Terms

SECTION: Final = "accounts"
EMPTY_AT_FIRST: Final = 1
"""What a new account is short of where nothing has a price yet: the least that there is."""
RESERVED_FOR: Final = 60 * 86400.0
"""Seconds back from now in which every open reservation was made: longer than a message lives."""

_LOAD: Final = "SELECT tenant, currency, credit, short FROM accounts ORDER BY tenant"
_SELECT: Final = "SELECT currency, credit, short FROM accounts WHERE tenant = ?"
_SET: Final = (
    "INSERT INTO accounts (tenant, currency, credit, short, granted) VALUES (?, ?, ?, ?, 0)"
    " ON CONFLICT (tenant) DO UPDATE SET currency = excluded.currency, credit = excluded.credit"
)
_POST: Final = (
    "INSERT INTO account_entries (tenant, reference, kind, currency, amount, note, actor, at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_ENTRIES: Final = (
    "SELECT reference, kind, currency, amount, note, actor, at FROM account_entries"
    " WHERE tenant = ? AND (at, reference) < (?, ?) ORDER BY at DESC, reference DESC LIMIT ?"
)
_ENTRY: Final = (
    "SELECT reference, kind, currency, amount, note, actor, at FROM account_entries"
    " WHERE tenant = ? AND reference = ?"
)
# One statement sees one moment: what another process moves from its lease to the ledger is in one
# of the two, never in both.
_STATE: Final = """
    SELECT
        CAST(COALESCE((SELECT SUM(amount) FROM balances
            WHERE balances.tenant = accounts.tenant AND balances.currency = accounts.currency), 0)
            AS INTEGER),
        CAST(COALESCE((SELECT SUM(amount) FROM leases
            WHERE leases.tenant = accounts.tenant), 0) AS INTEGER),
        CAST(COALESCE((SELECT SUM(reserved) FROM usage
            WHERE usage.tenant = accounts.tenant AND usage.currency = accounts.currency
            AND usage.day >= ?), 0) AS INTEGER)
    FROM accounts WHERE tenant = ?
"""
_FUNDS: Final = """
    SELECT
        CAST(COALESCE(credit, 0) + COALESCE((SELECT SUM(amount) FROM balances
            WHERE balances.tenant = accounts.tenant AND balances.currency = accounts.currency), 0)
            AS INTEGER),
        CAST(COALESCE((SELECT SUM(amount) FROM leases
            WHERE leases.tenant = accounts.tenant), 0) AS INTEGER)
    FROM accounts WHERE tenant = ?
"""
_SHORT: Final = "SELECT tenant, short FROM accounts WHERE short > 0"
_MARK: Final = "UPDATE accounts SET short = ? WHERE tenant = ? AND short <> ?"
_MARK_LOWER: Final = "UPDATE accounts SET short = ? WHERE tenant = ? AND (short = 0 OR short > ?)"


class EntryKind(str, Enum):
    """Why an amount was posted to an account."""

    TOP_UP = "top_up"  # the tenant paid
    ADJUSTMENT = "adjustment"  # a correction, in either direction


class Entry(msgspec.Struct, frozen=True):
    """What was posted to an account beside the messages; `amount` in millionths. A tenant's
    `reference` is used once."""

    reference: str
    kind: EntryKind
    currency: str
    amount: int
    note: str
    actor: str
    at: datetime


class AccountState(msgspec.Struct, frozen=True):
    """An account as it stands, in millionths. The `balance` has what is charged and what is
    reserved taken off already; of it, `leased` is what processes may spend at this moment.
    `cheapest` is the lowest price that its tenant pays."""

    tenant: str
    terms: Terms
    balance: int
    reserved: int
    leased: int
    cheapest: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing that has a price can be sent any more."""
        return self.terms.empty(self.cheapest)


class UnknownAccount(Exception):
    """The tenant has no account."""


class CurrencyFixed(Exception):
    """An account that was used keeps its currency."""


class EntryExists(Exception):
    """There is another entry with this reference."""


class BalanceTooLarge(Exception):
    """With the entry the balance would be beyond LARGEST_SUM."""


def load_terms(database: Database) -> dict[str, Terms]:
    """The terms of every account, by tenant."""
    return {
        tenant: Terms(currency, credit, short)
        for tenant, currency, credit, short in database.execute(_LOAD).fetchall()
    }


def terms_of(database: Database, tenant: str) -> Terms:
    """One account's terms. Raises UnknownAccount."""
    row = database.execute(_SELECT, (tenant,)).fetchone()
    if row is None:
        raise UnknownAccount(tenant)
    return Terms(*row)


def set_terms(
    database: Database,
    tenant: str,
    currency: str,
    credit: int | None,
    actor: str,
    *,
    force: bool = False,
) -> Terms:
    """Open an account, or change what it allows. Raises CurrencyFixed; and
    `adapters.billing.prices.CurrencyUnpriced` when there are prices, but none in this currency for
    the tenant or for everybody, unless `force`: without a price it would send for nothing."""
    row = database.execute(_SELECT, (tenant,)).fetchone()
    before = None if row is None else Terms(*row)
    if before is not None and before.currency != currency and _used(database, tenant):
        raise CurrencyFixed(tenant)
    database.execute(_SET, (tenant, currency, credit, EMPTY_AT_FIRST))
    if not force:
        prices.check_priced(database, tenant, currency)
    look_again(database, tenant)
    after = terms_of(database, tenant)
    note(
        database,
        actor,
        tenant,
        "account.open" if before is None else "account.change",
        tenant,
        {"before": None if before is None else _told(before), "after": _told(after)},
    )
    return after


def post(
    database: Database,
    tenant: str,
    reference: str,
    kind: EntryKind,
    amount: int,
    remark: str,
    actor: str,
) -> Entry:
    """Post an amount to an account, once for each reference: the same again changes nothing.

    Raises UnknownAccount, EntryExists when the reference was used for something else, and
    BalanceTooLarge.
    """
    currency = terms_of(database, tenant).currency
    # As exact as a datetime, by which pages of entries are asked for.
    now = datetime.now(UTC).timestamp()
    row = (tenant, reference, kind.value, currency, amount, remark, actor, now)
    if database.execute(_POST, row).rowcount != 1:
        there = _entry(database.execute(_ENTRY, (tenant, reference)).fetchone())
        if (there.kind, there.currency, there.amount) != (kind, currency, amount):
            raise EntryExists(reference)
        return there
    if abs(state_of(database, tenant).balance + amount) > LARGEST_SUM:
        raise BalanceTooLarge
    Ledger().post(database, tenant, currency, amount)
    look_again(database, tenant)
    note(
        database,
        actor,
        tenant,
        f"account.{kind.value}",
        reference,
        {"amount": text(amount), "currency": currency},
    )
    return _entry(row[1:])


def entries(
    database: Database, tenant: str, *, limit: int, before: tuple[float, str] | None = None
) -> list[Entry]:
    """What was posted to an account, the newest first; those `before` a place lead on."""
    at, reference = before or (float("inf"), "")
    rows = database.execute(_ENTRIES, (tenant, min(at, 1e12), reference, limit)).fetchall()
    return [_entry(row) for row in rows]


def state_of(database: Database, tenant: str) -> AccountState:
    """One account as it stands. Raises UnknownAccount."""
    terms = terms_of(database, tenant)
    day = day_of(time.time() - RESERVED_FOR)
    balance, leased, reserved = database.execute(_STATE, (day, tenant)).fetchone()
    cheapest = prices.least(database, tenant, terms.currency)
    return AccountState(tenant, terms, balance, reserved, leased, cheapest)


def states(database: Database) -> list[AccountState]:
    """Every account as it stands, by tenant."""
    return [state_of(database, tenant) for tenant in load_terms(database)]


def funds(database: Database, tenant: str) -> tuple[int, int]:
    """What an account has, credit included, and how much of that is leased, at one moment."""
    row = database.execute(_FUNDS, (tenant,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def look_again(database: Database, tenant: str) -> None:
    """Lift the mark of an account that has by now what it was short of; one that has not even what
    the cheapest message costs is short of that."""
    terms = terms_of(database, tenant)
    if not terms.short:
        return
    has, leased = funds(database, tenant)
    least = max(prices.least(database, tenant, terms.currency), 1)
    if terms.credit is not None and has < least:
        _mark(database, tenant, least)
    elif terms.credit is None or has - leased >= terms.short:
        _mark(database, tenant, 0)


def recovered(database: Database) -> list[str]:
    """Whose accounts have by now what they are marked as short of: `look_again` lifts the mark."""
    found = []
    for tenant, short in database.execute(_SHORT).fetchall():
        has, leased = funds(database, tenant)
        if has - leased >= short:
            found.append(tenant)
    return found


def mark_short(database: Database, tenant: str, amount: int) -> None:
    """Say that an account has not got an amount, if that is still so and is not known of a lower
    one."""
    if funds(database, tenant)[0] < amount:
        database.execute(_MARK_LOWER, (amount, tenant, amount))


def _mark(database: Database, tenant: str, short: int) -> None:
    database.execute(_MARK, (short, tenant, short))


def _used(database: Database, tenant: str) -> bool:
    found = database.execute("SELECT 1 FROM balances WHERE tenant = ? LIMIT 1", (tenant,))
    return found.fetchone() is not None


def _entry(row: Sequence[Any]) -> Entry:
    reference, kind, currency, amount, remark, actor, at = row
    when = datetime.fromtimestamp(at, UTC)
    return Entry(reference, EntryKind(kind), currency, amount, remark, actor, when)


def _told(terms: Terms) -> dict[str, Any]:
    credit = None if terms.credit is None else text(terms.credit)
    return {"currency": terms.currency, "credit": credit}
