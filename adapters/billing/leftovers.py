"""Reservations that no message's end knew of.

A cascade that gives up a submission before its answer does not hear what the attempt costs. The
process that submitted it has reserved that all the same, and nobody would ever release it. So
reservations are looked through twice: some hours after they were made, when most messages have
ended, and once every message must have. How far each look has come is in the database: what grew
old while no process ran is looked at when one starts.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from adapters.billing.ledger import Ledger, reserve_of
from adapters.store.database import Database
from adapters.store.schema import open_store
from domain.billing.settlement import Movement, left_over
from domain.timeline import Record

EVERY: Final = 3600.0
AGES: Final = (2 * 3600, 9 * 86400)
"""Seconds after which a reservation is looked at. The second is longer than a message's time to
live and the receipts after it."""
LATEST: Final = AGES[-1] + 2 * EVERY
"""Seconds after which a reservation of a message that has ended is open by a fault."""
_SLICE: Final = 60.0
_logger: Final = logging.getLogger(__name__)
_decode_record = msgspec.json.Decoder(Record).decode

# The message must have ended a while ago: what is on its way into the ledger has arrived.
_OPEN: Final = """
    SELECT reserve.message, reserve.attempt, reserve.tenant, reserve.currency, reserve.amount,
        reserve.channel, reserve.route, reserve.segments, reserve.at, reserve.rule,
        messages.record_json
    FROM ledger AS reserve JOIN messages ON messages.id = reserve.message
    WHERE reserve.kind = 'reserve' AND reserve.at >= ? AND reserve.at < ?
        AND messages.record_json IS NOT NULL AND messages.ended_at < ?
        AND NOT EXISTS (
            SELECT 1 FROM ledger AS release WHERE release.message = reserve.message
            AND release.attempt = reserve.attempt AND release.kind = 'release'
        )
"""
_SETTLED: Final = 600.0
_NEXT: Final = "SELECT MIN(at) FROM ledger WHERE kind = 'reserve' AND at >= ?"
_LOOKED: Final = "SELECT looked_until FROM leftovers WHERE age = ?"
_NOTE: Final = (
    "INSERT INTO leftovers (age, looked_until) VALUES (?, ?)"
    " ON CONFLICT (age) DO UPDATE SET looked_until = excluded.looked_until"
    " WHERE leftovers.looked_until < excluded.looked_until"
)


def settle_leftovers(database: Database, after: float, before: float, now: float) -> int:
    """End the reservations that were made from `after` to `before`, in seconds since 1970, and are
    still open although their messages have ended. Returns how many."""
    rows = database.execute(_OPEN, (after, before, now - _SETTLED)).fetchall()
    if rows:
        with database.transaction():
            Ledger().enter(database, _movements(rows))
    return len(rows)


async def settle_for_ever(where: Path | str) -> None:
    """Look through the reservations at once and then every hour, until canceled."""
    stop = threading.Event()
    try:
        while True:
            try:
                found = await asyncio.to_thread(look_through, where, time.time(), stop)
            except Exception as error:
                _logger.warning("open reservations could not be looked through: %s", error)
            else:
                if found:
                    _logger.info("%d reservations were left over and are settled", found)
            await asyncio.sleep(EVERY)
    finally:
        stop.set()


def look_through(where: Path | str, now: float, stop: threading.Event | None = None) -> int:
    """Settle what grew old enough since the last time, whoever looked then, and note how far this
    came. Returns how many. It blocks, and ends early once `stop` is set."""
    found = 0
    with closing(open_store(where, "hermes")) as database:
        for age in AGES:
            looked = database.execute(_LOOKED, (age,)).fetchone()
            # A bit of what was looked at before, since a reservation may be entered late.
            start, end = 0.0 if looked is None else looked[0] - EVERY, now - age
            # In slices, so that nobody waits for a long transaction.
            while stop is None or not stop.is_set():
                first = database.execute(_NEXT, (start,)).fetchone()[0]
                if first is None or first >= end:
                    start = end
                    break
                start = min(first + _SLICE, end)
                found += settle_leftovers(database, first, start, now)
            database.execute(_NOTE, (age, start))
    return found


def _movements(rows: list[tuple[object, ...]]) -> Iterator[Movement]:
    for *reserve, record_json in rows:
        yield from left_over(reserve_of(reserve), _decode_record(record_json))  # type: ignore[arg-type]
