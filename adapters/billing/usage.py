"""What tenants used and what it came to: from sums by day, never from the messages."""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec

from adapters.store.database import Database
from domain.billing.money import text

MOST_DAYS: Final = 366
MOST_LINES: Final = 20_000
"""Lines that one report may have."""

_REPORT: Final = (
    "SELECT tenant, day, channel, route, currency, CAST(SUM(charges) AS INTEGER),"
    " CAST(SUM(segments) AS INTEGER), CAST(SUM(charged) AS INTEGER),"
    " CAST(SUM(open) AS INTEGER), CAST(SUM(reserved) AS INTEGER), CAST(SUM(refunds) AS INTEGER)"
    " FROM usage WHERE {where}"
    " GROUP BY tenant, day, channel, route, currency"
    " ORDER BY day, tenant, channel, route, currency LIMIT ?"
)


class Asked(msgspec.Struct, frozen=True):
    """Which usage: of one tenant or of all, from the day `first` to `last`, both included."""

    first: date
    last: date
    tenant: str | None = None
    channel: str | None = None
    route: str | None = None


class UsageLine(msgspec.Struct, frozen=True):
    """A day of a tenant's usage of one route, in UTC, by when the attempts were made.

    `attempts` were charged, with `segments` in all, and came to `cost`, decimal text in
    `currency`. `open` more may still become due: `reserved` is set aside for them. `refunded` had
    been reserved and came to nothing.
    """

    tenant: str
    day: date
    channel: str
    route: str
    currency: str
    attempts: int
    segments: int
    cost: str
    open: int
    reserved: str
    refunded: int


class UsageTotal(msgspec.Struct, frozen=True):
    """What the lines in one currency come to together."""

    currency: str
    attempts: int
    segments: int
    cost: str
    open: int
    reserved: str
    refunded: int


class TooMuchUsage(Exception):
    """The report would have more than MOST_LINES lines."""


def report(database: Database, asked: Asked) -> tuple[list[UsageLine], list[UsageTotal]]:
    """The lines by day, and their totals by currency. Raises TooMuchUsage."""
    where, values = ["day >= ?", "day <= ?"], [asked.first.isoformat(), asked.last.isoformat()]
    for column in ("tenant", "channel", "route"):
        wanted: str | None = getattr(asked, column)
        if wanted is not None:
            where.append(f"{column} = ?")
            values.append(wanted)
    sql = _REPORT.format(where=" AND ".join(where))
    rows = database.execute(sql, [*values, MOST_LINES + 1]).fetchall()
    if len(rows) > MOST_LINES:
        raise TooMuchUsage
    lines: list[UsageLine] = []
    totals: dict[str, list[int]] = {}
    for tenant, day, channel, route, currency, *numbers in rows:
        when = date.fromisoformat(day)
        lines.append(UsageLine(tenant, when, channel, route, currency, *_shown(numbers)))
        total = totals.setdefault(currency, [0] * len(numbers))
        totals[currency] = [one + other for one, other in zip(total, numbers, strict=True)]
    return lines, [UsageTotal(code, *_shown(totals[code])) for code in sorted(totals)]


def as_csv(lines: list[UsageLine]) -> str:
    """The lines with a heading, as RFC 4180 has them."""
    names = UsageLine.__struct_fields__
    rows = [",".join(names)]
    rows += [",".join(_cell(str(getattr(line, name))) for name in names) for line in lines]
    return "\r\n".join(rows) + "\r\n"


def _shown(numbers: list[int]) -> tuple[int, int, str, int, str, int]:
    attempts, segments, charged, open_, reserved, refunds = numbers
    return attempts, segments, text(charged), open_, text(reserved), refunds


def _cell(value: str) -> str:
    if value[:1] in "=+@\t\r":
        # A spreadsheet would take it for a formula.
        value = f"'{value}"
    if any(mark in value for mark in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
