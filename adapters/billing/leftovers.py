"""Reservations that no message's end knew of.

A cascade that gives up a submission before its answer does not hear what the attempt costs. The
process that submitted it has reserved that all the same, and nobody would ever release it. So
reservations are looked through twice: some hours after they were made, when most messages have
ended, and once every message must have.
"""

from __future__ import annotations

import asyncio
import logging
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
AGES: Final = (2 * 3600.0, 9 * 86400.0)
"""Seconds after which a reservation is looked at. The second is longer than a message's time to
live and the receipts after it."""
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


def settle_leftovers(database: Database, after: float, before: float, now: float) -> int:
    """End the reservations that were made from `after` to `before`, in seconds since 1970, and are
    still open although their messages have ended. Returns how many."""
    rows = database.execute(_OPEN, (after, before, now - _SETTLED)).fetchall()
    if rows:
        with database.transaction():
            Ledger().enter(database, _movements(rows))
    return len(rows)


async def settle_for_ever(where: Path | str) -> None:
    """Look through the reservations once an hour, until canceled."""
    while True:
        await asyncio.sleep(EVERY)
        try:
            found = await asyncio.to_thread(_look_through, where, time.time())
        except Exception as error:
            _logger.warning("open reservations could not be looked through: %s", error)
        else:
            if found:
                _logger.info("%d reservations were left over and are settled", found)


def _look_through(where: Path | str, now: float) -> int:
    found = 0
    with closing(open_store(where, "hermes")) as database:
        for age in AGES:
            # Twice the time between two looks, since those are not exact. In slices, so that
            # nobody waits for a long transaction.
            start, end = now - age - 2 * EVERY, now - age
            while start < end:
                found += settle_leftovers(database, start, start + _SLICE, now)
                start += _SLICE
    return found


def _movements(rows: list[tuple[object, ...]]) -> Iterator[Movement]:
    for *reserve, record_json in rows:
        yield from left_over(reserve_of(reserve), _decode_record(record_json))  # type: ignore[arg-type]
