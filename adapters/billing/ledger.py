"""The ledger in the database: what is entered counts once, whoever enters it how often.

A movement that is new also moves two sums, in the same transaction: the tenant's balance, and its
usage by day, channel and route. Each sum is kept in SHARDS parts, and a process adds to one of
them only, so that processes do not wait for each other at a tenant that sends much.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeVar

from adapters.store.bulk import LARGEST, multiplied
from adapters.store.database import Database
from domain.billing.cost import Rule
from domain.billing.settlement import Kind, Movement, Proof, Settled, due_after_all

SHARDS: Final = 32

_ENTER: Final = (
    "INSERT INTO ledger (message, attempt, kind, tenant, currency, amount, channel, route,"
    " segments, at, rule) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING RETURNING message, attempt, kind"
)
_RESERVED: Final = (
    "SELECT message, attempt, tenant, currency, amount, channel, route, segments, at, rule"
    " FROM ledger WHERE kind = 'reserve' AND message IN "
)
_BALANCE: Final = (
    "INSERT INTO balances (tenant, currency, shard, amount) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (tenant, currency, shard) DO UPDATE SET amount = balances.amount"
    " + excluded.amount"
)
_USAGE: Final = (
    "INSERT INTO usage (tenant, day, channel, route, currency, shard,"
    " charges, segments, charged, open, reserved, refunds)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (tenant, day, channel, route, currency, shard) DO UPDATE SET"
    " charges = usage.charges + excluded.charges,"
    " segments = usage.segments + excluded.segments,"
    " charged = usage.charged + excluded.charged,"
    " open = usage.open + excluded.open,"
    " reserved = usage.reserved + excluded.reserved,"
    " refunds = usage.refunds + excluded.refunds"
)
_OF_MESSAGE: Final = (
    "SELECT attempt, kind, currency, amount FROM ledger WHERE message = ? ORDER BY attempt, kind"
)

T = TypeVar("T")
Entered = Movement | Proof
"""What can be given to a Ledger."""
Counted = Callable[[str, str], None]
"""Hears the tenant and the kind of each movement that is entered and was not there before."""
_Key = tuple[str, int, str]


class Ledger:
    """The way into the ledger for one process. It does not block by itself: it is called on the
    thread that has the database, in a transaction. `entered` counts what is new."""

    def __init__(self, shard: int | None = None, entered: Counted | None = None) -> None:
        self._entered = entered
        self._shard = random.Random(os.urandom(8)).randrange(SHARDS) if shard is None else shard

    def enter(self, database: Database, entered: Iterable[Entered]) -> None:
        """Enter movements, and the charges that late receipts make due, unless they are there."""
        movements: dict[_Key, Movement] = {}
        proofs: list[Proof] = []
        for one in entered:
            if isinstance(one, Proof):
                proofs.append(one)
            else:
                movements.setdefault((one.message, one.attempt, one.kind.value), one)
        for charge in _due_after_all(database, proofs):
            movements.setdefault((charge.message, charge.attempt, charge.kind.value), charge)
        if not movements:
            return
        # In one order everywhere, so that two transactions never wait for each other in a circle.
        rows = [_row(movements[key]) for key in sorted(movements)]
        new = [movements[key] for key in _insert(database, rows)]
        if new:
            self._add_up(database, new)
            if self._entered is not None:
                for movement in new:
                    self._entered(movement.tenant, movement.kind.value)

    def _add_up(self, database: Database, new: Sequence[Movement]) -> None:
        balances: dict[tuple[str, str], int] = {}
        usage: dict[tuple[str, str, str, str, str], list[int]] = {}
        for movement in new:
            purse = (movement.tenant, movement.currency)
            balances[purse] = balances.get(purse, 0) + movement.amount
            day = (
                movement.tenant,
                day_of(movement.at),
                movement.channel,
                movement.route,
                movement.currency,
            )
            sums = usage.get(day)
            if sums is None:
                sums = usage[day] = [0] * 6
            for place, number in enumerate(counts(movement)):
                sums[place] += number
        for day, sums in sorted(usage.items()):
            database.execute(_USAGE, (*day, self._shard, *sums))
        for purse, amount in sorted(balances.items()):
            database.execute(_BALANCE, (*purse, self._shard, amount))

    def post(self, database: Database, tenant: str, currency: str, amount: int) -> None:
        """Add an entry of the account's own, such as a payment, to the balance."""
        database.execute(_BALANCE, (tenant, currency, self._shard, amount))


def counts(movement: Movement) -> tuple[int, int, int, int, int, int]:
    """What a movement adds to the usage: charges, their segments, what they come to; open
    reservations, what they come to; refunds."""
    kind, amount = movement.kind, -movement.amount
    if kind is Kind.CHARGE:
        return 1, movement.segments, amount, 0, 0, -1 if movement.reserved else 0
    if kind is Kind.RESERVE:
        return 0, 0, 0, 1, amount, 0
    return 0, 0, 0, -1, amount, 1


def day_of(at: float) -> str:
    """The day in UTC, as 2026-05-01."""
    return _day(int(at // 86400))


def movements_of(database: Database, message: str) -> list[Settled]:
    """What was entered for a message, by attempt."""
    rows = database.execute(_OF_MESSAGE, (message,)).fetchall()
    return [
        Settled(attempt, Kind(kind), currency, amount) for attempt, kind, currency, amount in rows
    ]


def _due_after_all(database: Database, proofs: Sequence[Proof]) -> Iterator[Movement]:
    """The charges of what was reserved that late receipts make due."""
    messages = sorted({proof.message for proof in proofs})
    reserved: dict[tuple[str, int], Movement] = {}
    for portion in _portions(messages):
        places = f"({', '.join('?' * len(portion))})"
        for row in database.execute(_RESERVED + places, portion).fetchall():
            reserve = reserve_of(row)
            reserved[reserve.message, reserve.attempt] = reserve
    for proof in proofs:
        known = reserved.get((proof.message, proof.attempt))
        charge = None if known is None else due_after_all(known, proof.level)
        if charge is not None:
            yield charge


def reserve_of(row: Sequence[Any]) -> Movement:
    """A reservation, of its columns in the ledger."""
    message, attempt, tenant, currency, amount, channel, route, segments, at, rule = row
    return Movement(
        message, attempt, Kind.RESERVE, tenant, currency, amount, channel, route, segments, at,
        Rule(rule),
    )  # fmt: skip


def _row(movement: Movement) -> tuple[Any, ...]:
    return (
        movement.message,
        movement.attempt,
        movement.kind.value,
        movement.tenant,
        movement.currency,
        movement.amount,
        movement.channel,
        movement.route,
        movement.segments,
        movement.at,
        movement.rule.value,
    )


def _insert(database: Database, rows: Sequence[tuple[Any, ...]]) -> Iterator[_Key]:
    """Insert rows; the keys of those that were new."""
    for portion in _portions(rows):
        many = multiplied(_ENTER, len(portion))
        assert many is not None
        yield from database.execute(many, list(chain.from_iterable(portion))).fetchall()


def _portions(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at a time as one statement takes: powers of two, so that few different statements
    are prepared."""
    start = 0
    while start < len(rows):
        size = min(LARGEST, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86400, UTC).strftime("%Y-%m-%d")
