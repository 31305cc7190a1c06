"""Proof that the money adds up: every sum again from the rows that it is a sum of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.billing.leftovers import LATEST
from adapters.store.database import Database, is_postgres
from adapters.store.schema import open_store
from domain.billing import settlement
from domain.billing.money import text
from domain.timeline import Record

SHOWN: Final = 20
"""Faults of one kind that are told; of the rest, the number."""
_PAGE: Final = 500
_decode_record = msgspec.json.Decoder(Record).decode

_BALANCES: Final = (
    "SELECT tenant, currency, CAST(SUM(amount) AS INTEGER) FROM balances GROUP BY tenant, currency"
)
_MOVED: Final = (
    "SELECT tenant, currency, CAST(SUM(amount) AS INTEGER) FROM ("
    "SELECT tenant, currency, amount FROM ledger"
    " UNION ALL SELECT tenant, currency, amount FROM account_entries) AS moved"
    " GROUP BY tenant, currency"
)
_USAGE: Final = (
    "SELECT tenant, currency, CAST(SUM(charges) AS INTEGER), CAST(SUM(charged) AS INTEGER),"
    " CAST(SUM(reserved) AS INTEGER), CAST(SUM(open) AS INTEGER)"
    " FROM usage GROUP BY tenant, currency"
)
_COUNTED: Final = (
    "SELECT tenant, currency,"
    " CAST(SUM(CASE kind WHEN 'charge' THEN 1 ELSE 0 END) AS INTEGER),"
    " CAST(SUM(CASE kind WHEN 'charge' THEN -amount ELSE 0 END) AS INTEGER),"
    " CAST(SUM(CASE kind WHEN 'charge' THEN 0 ELSE -amount END) AS INTEGER),"
    " CAST(SUM(CASE kind WHEN 'reserve' THEN 1 WHEN 'release' THEN -1 ELSE 0 END) AS INTEGER)"
    " FROM ledger GROUP BY tenant, currency"
)
# Of one attempt: a release gives back exactly what was reserved, and a charge takes exactly that.
_UNEQUAL: Final = (
    "SELECT other.message, other.attempt, other.kind FROM ledger AS other"
    " LEFT JOIN ledger AS reserve ON reserve.message = other.message"
    " AND reserve.attempt = other.attempt AND reserve.kind = 'reserve'"
    " WHERE (other.kind = 'release'"
    " AND (reserve.amount IS NULL OR reserve.amount <> -other.amount))"
    " OR (other.kind = 'charge' AND reserve.amount <> other.amount)"
    " OR (other.kind IN ('reserve', 'charge') AND other.amount > 0)"
)
_ENDED: Final = (
    "SELECT id, tenant, record_json FROM messages WHERE id > ? AND record_json IS NOT NULL"
    " ORDER BY id LIMIT ?"
)
_ROWS: Final = (
    "SELECT message, attempt, kind, amount FROM ledger WHERE message >= ? AND message <= ?"
)
# Each of them should have been released: see `adapters.billing.leftovers`.
_LEFT_OPEN: Final = (
    "SELECT reserve.message, reserve.attempt FROM ledger AS reserve"
    " JOIN messages ON messages.id = reserve.message"
    " WHERE reserve.kind = 'reserve' AND messages.ended_at < ? AND NOT EXISTS ("
    "SELECT 1 FROM ledger AS release WHERE release.message = reserve.message"
    " AND release.attempt = reserve.attempt AND release.kind = 'release')"
    " ORDER BY reserve.message, reserve.attempt"
)
_RESERVES: Final = "SELECT COUNT(*) FROM ledger WHERE kind = 'reserve'"
_LEASED: Final = "SELECT COUNT(*) FROM leases WHERE amount < 0"


class Finding(msgspec.Struct, frozen=True):
    """One thing that must hold, over how many it was looked at, and where it does not."""

    name: str
    of: int
    wrong: int
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return not self.wrong


def check(where: Path | str) -> list[Finding]:
    """Look through everything, as it is at one moment, while others go on writing.

    It reads every message and every movement: for an operator, not for a request.
    """
    with _snapshot(where) as database:
        return [
            _same("balances are the sum of the ledger", database, _MOVED, _BALANCES),
            _same("usage is the sum of the ledger", database, _COUNTED, _USAGE),
            _listed(
                "charges and refunds are what was reserved",
                _count(database, "ledger"),
                (f"{message}/{attempt} {kind}" for message, attempt, kind in _all(database)),
            ),
            _settled(database),
            _listed(
                "no reservation is left of a message that ended long ago",
                database.execute(_RESERVES).fetchone()[0],
                (
                    f"{message}/{attempt}"
                    for message, attempt in database.execute(
                        _LEFT_OPEN, (time.time() - LATEST,)
                    ).fetchall()
                ),
            ),
            Finding(
                "no lease is negative",
                _count(database, "leases"),
                database.execute(_LEASED).fetchone()[0],
            ),
        ]


@contextmanager
def _snapshot(where: Path | str) -> Iterator[Database]:
    with closing(open_store(where, "hermes")) as database:
        if is_postgres(where):
            with database.transaction():
                database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield database
            return
        # Without the lock that `transaction` takes: with a write-ahead log, readers need none.
        database.execute("BEGIN")
        try:
            yield database
        finally:
            database.execute("COMMIT")


def _same(name: str, database: Database, expected: str, stored: str) -> Finding:
    right = {tuple(row[:2]): tuple(row[2:]) for row in database.execute(expected).fetchall()}
    there = {tuple(row[:2]): tuple(row[2:]) for row in database.execute(stored).fetchall()}

    def wrong() -> Iterator[str]:
        for key in sorted(right.keys() | there.keys()):
            nothing = (0,) * len(next(iter((*right.values(), *there.values()))))
            one, other = right.get(key, nothing), there.get(key, nothing)
            if one != other:
                yield f"{key[0]} {key[1]}: {_sums(other)}, not {_sums(one)}"

    return _listed(name, len(right.keys() | there.keys()), wrong())


def _all(database: Database) -> list[Any]:
    return database.execute(_UNEQUAL).fetchall()


def _settled(database: Database) -> Finding:
    """Whether the ledger has every movement that the messages' own records call for."""
    checked = wrong = 0
    examples: list[str] = []
    after = ""
    while page := database.execute(_ENDED, (after, _PAGE)).fetchall():
        after = page[-1][0]
        rows = database.execute(_ROWS, (page[0][0], after)).fetchall()
        there = {(message, attempt, kind): amount for message, attempt, kind, amount in rows}
        for message, tenant, record_json in page:
            for movement in settlement.ended(message, tenant, _decode_record(record_json)):
                checked += 1
                key = (message, movement.attempt, movement.kind.value)
                if there.get(key) == movement.amount:
                    continue
                wrong += 1
                if len(examples) < SHOWN:
                    examples.append(f"{message}/{movement.attempt} {movement.kind.value}")
    return Finding("every message that ended is settled", checked, wrong, tuple(examples))


def _listed(name: str, of: int, wrong: Iterator[str]) -> Finding:
    found = list(wrong)
    return Finding(name, of, len(found), tuple(found[:SHOWN]))


def _count(database: Database, table: str) -> int:
    number: int = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return number


def _sums(amounts: tuple[int, ...]) -> str:
    return ", ".join(text(amount) if abs(amount) >= 100 else str(amount) for amount in amounts)
