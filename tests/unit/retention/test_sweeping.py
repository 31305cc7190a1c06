"""Messages whose time is over, and the one process that looks after them."""

from __future__ import annotations

import pytest

from adapters.retention import sweeper as sweeper_module
from adapters.retention.redaction import BATCH
from adapters.store.database import is_postgres
from domain.mode import Mode
from domain.ports import MessageQuery
from domain.retention import LONGEST_LIFE, Retention
from domain.timeline import Status
from tests.unit.retention.conftest import PERSON, World
from tests.waiting import eventually

DAY_LONG = Retention(days=1)


async def test_nothing_names_the_person_any_more(world: World, names):
    message = await world.ended(world.order(days_ago=91))
    assert names(world) == set(PERSON)
    assert world.sweeper().round() == 1
    assert names(world) == set(), world.everything()
    row = await world.log.get(message)
    assert row is not None
    assert row.record is not None
    assert (row.status, row.record.channel, len(row.late)) == (Status.FAILED, "sms", 1)


async def test_a_redacted_message_is_still_listed(world: World):
    message = await world.ended(world.order(days_ago=91))
    world.sweeper().round()
    assert [row.id for row in await world.log.list(MessageQuery("acme", 10))] == [message]
    labelled = MessageQuery("acme", 10, metadata=(("customer", "Anna Person"),))
    assert await world.log.list(labelled) == []


TIMES = {
    # the tenant's retention, mode, age in days, and whether it is redacted
    "younger than the default": (Retention(), Mode.LIVE, 89, False),
    "older than the default": (Retention(), Mode.LIVE, 91, True),
    "younger than the tenant's": (Retention(days=400), Mode.LIVE, 399, False),
    "older than the tenant's": (Retention(days=1), Mode.LIVE, 1.1, True),
    "a test message": (Retention(days=400), Mode.TEST, 8, True),
    "a young test message": (Retention(days=400), Mode.TEST, 6, False),
    "a test message kept longer": (Retention(days=1, test_days=30), Mode.TEST, 8, False),
}


@pytest.mark.parametrize(("retention", "mode", "age", "due"), TIMES.values(), ids=TIMES)
async def test_the_tenant_says_how_long(world: World, retention, mode, age, due):
    world.retention["acme"] = retention
    await world.ended(world.order(days_ago=age, mode=mode))
    assert world.sweeper().round() == due


async def test_the_time_counts_from_the_end(world: World):
    world.retention["acme"] = DAY_LONG
    order = world.order(days_ago=1)
    message = await world.accepted(order)
    world.clock.pass_by(seconds=30)
    assert world.sweeper().round() == 0
    await world.ended(order, message)
    assert world.sweeper().round() == 0
    world.clock.pass_by(minutes=5)
    assert world.sweeper().round() == 1


async def test_a_message_that_is_under_way_keeps_its_address(world: World, names):
    world.retention["acme"] = DAY_LONG
    await world.accepted(world.order(days_ago=30))
    assert world.sweeper().round() == 0
    assert PERSON[0] in names(world)


async def test_a_message_whose_end_was_never_written(world: World, names):
    world.retention["acme"] = DAY_LONG
    await world.accepted(world.order(days_ago=LONGEST_LIFE.days + 2))
    assert world.sweeper().round() == 1
    assert names(world) == set()


async def test_each_tenant_has_a_time_of_its_own(world: World):
    world.retention["short"] = DAY_LONG
    for tenant in ("acme", "short", "zebra"):
        await world.ended(world.order(tenant, days_ago=10))
    assert world.sweeper().round() == 1
    [row] = await world.log.list(MessageQuery("short", 10))
    assert row.order.to == {"sms": "", "email": ""}
    for tenant in ("acme", "zebra"):
        [row] = await world.log.list(MessageQuery(tenant, 10))
        assert row.order.to["sms"] == PERSON[0]


async def test_more_than_one_batch(world: World, names):
    for _ in range(BATCH + 3):
        await world.ended(world.order(days_ago=91))
    assert world.sweeper().round() == BATCH + 3
    assert world.sweeper().round() == 0
    assert names(world) == set()


async def test_an_end_that_is_written_again_brings_nothing_back(world: World, names):
    order = world.order(days_ago=91)
    message = await world.ended(order)
    world.sweeper().round()
    row = await world.log.get(message)
    await world.log.ended(message, order, row.record)
    world.clock.pass_by(days=1)
    await world.log.late_receipt(message, row.late[0])
    again = await world.log.get(message)
    assert again.order.to == {"sms": "", "email": ""}
    assert len(again.late) == 1
    assert names(world) == set()
    with world.database() as database:
        assert database.execute("SELECT * FROM message_recipients").fetchall() == []


async def test_one_process_at_a_time(world: World):
    first, second = world.sweeper(), world.sweeper()
    await world.ended(world.order(days_ago=91))
    assert first.round() == 1
    await world.ended(world.order(days_ago=91))
    assert second.round() == 0
    world.clock.pass_by(seconds=119)
    assert second.round() == 0
    assert first.round() == 1  # it has renewed its duty
    await world.ended(world.order(days_ago=91))
    world.clock.pass_by(seconds=121)
    assert second.round() == 1
    assert first.round() == 0


async def test_the_thread_sweeps_and_leaves_the_duty_behind(world: World):
    await world.ended(world.order(days_ago=91))
    sweeper = world.sweeper(every=0.01)
    sweeper.start()
    try:
        assert await eventually(lambda: sweeper.redacted == 1)
    finally:
        sweeper.close()
    await world.ended(world.order(days_ago=91))
    assert world.sweeper().round() == 1


class Slowly:
    """A clock by which everything takes a second, nearly all of it spent waiting."""

    COMPUTED = 0.01

    def __init__(self) -> None:
        self._now = self._computed = 0.0

    def monotonic(self) -> float:
        self._now += 1
        return self._now

    def thread_time(self) -> float:
        self._computed += self.COMPUTED
        return self._computed


async def test_nobody_rests_for_having_waited_for_a_server(world: World, monkeypatch):
    await world.ended(world.order(days_ago=91))
    sweeper = world.sweeper()
    rests: list[float] = []
    monkeypatch.setattr(sweeper_module, "time", Slowly())
    monkeypatch.setattr(sweeper, "_goes_on", lambda database, rest: rests.append(rest) or True)
    assert sweeper.round() == 1
    # A file is held meanwhile, and others want it.
    rest = 2 * Slowly.COMPUTED if is_postgres(world.where) else 1
    assert rests == [pytest.approx(rest)]
