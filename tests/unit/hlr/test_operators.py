"""Which network serves a number: asked once, known to all processes, never waited for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.hlr import cache as caching
from adapters.hlr.cache import OperatorCache
from adapters.store.database import connect
from domain.ports import LookupUnavailable
from tests.waiting import eventually

KEY = b"k" * 32
ANNA = "+4520123456"


class Register:
    """Answers by number; `down` makes it answer nothing. Holds answers back until `open`."""

    def __init__(self, **operators: str) -> None:
        self.operators = {ANNA: "23801"} | operators
        self.asked: list[str] = []
        self.down = False
        self.at_once = 0
        self.most_at_once = 0
        self.open = asyncio.Event()
        self.open.set()

    async def look_up(self, number: str) -> str | None:
        self.asked.append(number)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        if self.down:
            raise LookupUnavailable("it is down")
        return self.operators.get(number)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def operators(where: Path | str, register: Register, clock: Clock | None = None, **options):
    cache = OperatorCache(where, register, KEY, clock=clock or Clock(), **options)
    try:
        yield cache
    finally:
        await cache.close()


async def settled(cache: OperatorCache, number: str) -> str | None:
    """The operator as it is known once the look-up that the question begins has ended."""
    cache.operator_of(number)
    await eventually(lambda: cache.idle)
    return cache.operator_of(number)


async def test_the_first_message_goes_without_and_the_second_knows(where):
    register = Register()
    async with operators(where, register) as cache:
        assert cache.operator_of(ANNA) is None
        assert cache.operator_of(ANNA) is None
        await eventually(lambda: cache.idle)
        assert cache.operator_of(ANNA) == "23801"
        assert register.asked == [ANNA]


async def test_another_process_asks_the_database_not_the_provider(where):
    register = Register()
    async with operators(where, register) as first:
        await settled(first, ANNA)
    async with operators(where, register) as second:
        assert await settled(second, ANNA) == "23801"
    assert register.asked == [ANNA]


async def test_that_nobody_serves_a_number_is_an_answer_too(where):
    register, clock = Register(), Clock()
    async with operators(where, register, clock) as cache:
        assert await settled(cache, "+4520999999") is None
        assert await settled(cache, "+4520999999") is None
        assert len(register.asked) == 1
        clock.now += caching.KEPT_UNSERVED + 1
        await settled(cache, "+4520999999")
        assert len(register.asked) == 2


async def test_what_is_out_of_date_is_told_until_the_new_answer_is_there(where):
    register, clock = Register(), Clock()
    async with operators(where, register, clock) as cache:
        await settled(cache, ANNA)
        register.operators[ANNA] = "23802"
        clock.now += caching.KEPT + 1
        register.open.clear()
        assert cache.operator_of(ANNA) == "23801"
        register.open.set()
        await eventually(lambda: cache.idle)
        assert cache.operator_of(ANNA) == "23802"
    async with operators(where, register, clock) as other:
        assert await settled(other, ANNA) == "23802"


async def test_a_provider_that_is_down_is_asked_again_later_and_nothing_is_stored(where):
    register, clock = Register(), Clock()
    register.down = True
    async with operators(where, register, clock) as cache:
        assert await settled(cache, ANNA) is None
        assert await settled(cache, ANNA) is None
        assert len(register.asked) == 1
        register.down = False
        clock.now += caching.ASK_AGAIN + 1
        assert await settled(cache, ANNA) == "23801"


async def test_a_slow_provider_has_only_so_many_questions_at_a_time(where):
    numbers = [f"+4520{number:06}" for number in range(200)]
    register = Register(**dict.fromkeys(numbers, "23801"))
    register.open.clear()
    async with operators(where, register, concurrency=4) as cache:
        for number in numbers:
            cache.operator_of(number)
        await eventually(lambda: register.at_once == 4)
        register.open.set()
        await eventually(lambda: cache.idle)
        assert {cache.operator_of(number) for number in numbers} == {"23801"}
    assert register.most_at_once == 4
    assert len(register.asked) == 200


async def test_what_waits_and_what_is_remembered_has_a_bound(where, monkeypatch):
    monkeypatch.setattr(caching, "WAITING", 10)
    monkeypatch.setattr(caching, "REMEMBERED", 5)
    register = Register()
    async with operators(where, register) as cache:
        for number in range(50):
            cache.operator_of(f"+4520{number:06}")
        await eventually(lambda: cache.idle)
        assert len(register.asked) == 10
        # The five that were answered last are in memory; the others are asked of the database.
        for number in range(10):
            cache.operator_of(f"+4520{number:06}")
        await eventually(lambda: cache.idle)
        assert len(register.asked) == 10


async def test_closing_while_questions_are_open(where):
    register = Register()
    register.open.clear()
    async with operators(where, register) as cache:
        cache.operator_of(ANNA)
        await eventually(lambda: register.at_once == 1)
    assert register.at_once == 0


async def test_the_table_does_not_tell_whose_numbers_they_are(where):
    async with operators(where, Register()) as cache:
        await settled(cache, ANNA)
    database = connect(where)
    (row,) = database.execute("SELECT digest, operator FROM number_operators").fetchall()
    database.close()
    assert b"20123456" not in bytes(row[0])
    assert len(bytes(row[0])) == 16


async def test_answers_leave_the_table_when_they_are_out_of_date(where, monkeypatch):
    register, clock = Register(**{"+4520000001": "23802"}), Clock()
    async with operators(where, register, clock) as cache:
        await settled(cache, ANNA)
        clock.now += caching.KEPT + 1
        await settled(cache, "+4520000001")
    database = connect(where)
    (count,) = database.execute("SELECT count(*) FROM number_operators").fetchone()
    database.close()
    assert count == 1


@pytest.mark.parametrize("stored", ["23801", None])
async def test_a_database_that_cannot_be_read_is_no_reason_to_stop(where, stored):
    register = Register()
    async with operators(where, register) as cache:
        database = connect(where)
        database.execute("ALTER TABLE number_operators RENAME TO gone")
        assert await settled(cache, ANNA) == "23801"
        database.execute("ALTER TABLE gone RENAME TO number_operators")
        database.close()
