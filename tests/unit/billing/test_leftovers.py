"""Reservations that no message's end knew of, whenever a process looks for them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from adapters.billing import leftovers
from adapters.billing.check import check
from adapters.billing.ledger import Ledger
from adapters.billing.leftovers import AGES, EVERY, LATEST, look_through, settle_for_ever
from adapters.store.change import change, looking
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from domain.billing.settlement import Kind
from domain.message import Content, Level, MessageOrder, Step
from domain.timeline import Record, Status
from tests.unit.billing.conftest import movement
from tests.waiting import eventually

NOW = time.time()
HOUR, DAY = 3600.0, 86400.0


async def left_over(where, message: str, age: float, ended: float | None = None) -> None:
    """A message with a reservation that is `age` seconds old, of which its end, `ended` seconds
    ago, does not know. None: it is under way."""
    at = NOW - age
    accepted = datetime.fromtimestamp(at, UTC)
    order = MessageOrder(
        tenant="acme",
        to={"sms": "+4520123456"},
        content=Content("Hello"),
        plan=(Step("sms", 30.0, Level.DELIVERED),),
        accepted_at=accepted,
        expires_at=accepted + timedelta(hours=1),
    )
    log = SqliteMessageLog(where, Places(bytes(32)))
    await log.accepted(message, order)
    if ended is not None:
        at_end = datetime.fromtimestamp(NOW - ended, UTC)
        await log.ended(message, order, Record(Status.FAILED, [], ended_at=at_end))
    await log.close()
    with change(where) as database:
        Ledger().enter(database, [movement(message, Kind.RESERVE, at=at)])


def released(where) -> list[str]:
    with looking(where) as database:
        rows = database.execute("SELECT message FROM ledger WHERE kind = 'release' ORDER BY 1")
        return [message for (message,) in rows.fetchall()]


@pytest.mark.parametrize(
    ("age", "ended", "settled"),
    [
        (AGES[0] + 60, AGES[0], True),
        # Not yet, or not yet ended.
        (AGES[0] - 60, AGES[0] - 60, False),
        (AGES[0] + 60, None, False),
        (AGES[0] + 60, 60, False),
        # No process ran when it grew old.
        (AGES[0] + 30 * HOUR, AGES[0], True),
        (AGES[1] + 60, AGES[1], True),
        (AGES[1] + 90 * DAY, AGES[1], True),
    ],
)
async def test_what_grew_old_is_settled_however_long_ago(where, age, ended, settled):
    await left_over(where, "m", age, ended)
    assert look_through(where, NOW) == settled
    assert released(where) == ["m"] * settled
    assert look_through(where, NOW) == 0


async def test_each_look_begins_where_the_last_one_ended(where, monkeypatch):
    looked: list[float] = []
    settle = leftovers.settle_leftovers

    def settle_leftovers(database, after, before, now):
        looked.append(after)
        return settle(database, after, before, now)

    monkeypatch.setattr(leftovers, "settle_leftovers", settle_leftovers)
    for number in range(3):
        await left_over(where, f"m{number}", AGES[1] + 60 + number * DAY, 10 * HOUR)
    look_through(where, NOW)
    assert len(looked) == 2 * 3
    looked.clear()
    # A process that starts a day later: the second look has one more message, the first none.
    await left_over(where, "late", HOUR, 30 * 60)
    assert look_through(where, NOW + 4 * HOUR) == 1
    assert released(where) == ["late", "m0", "m1", "m2"]
    assert all(at > NOW - AGES[1] - EVERY - HOUR for at in looked)


async def test_a_process_looks_as_soon_as_it_starts(where):
    await left_over(where, "m", AGES[0] + 60, AGES[0])
    task = asyncio.create_task(settle_for_ever(where))
    await eventually(lambda: released(where) == ["m"])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_check_counts_what_is_left_of_messages_that_ended_long_ago(where):
    name = "no reservation is left of a message that ended long ago"
    await left_over(where, "lately", LATEST, LATEST - HOUR)
    await left_over(where, "old", LATEST + DAY, LATEST + HOUR)
    [found] = [one for one in check(where) if one.name == name]
    assert (found.of, found.wrong, found.examples) == (2, 1, ("old/1",))
    look_through(where, NOW)
    assert all(one.ok for one in check(where))
