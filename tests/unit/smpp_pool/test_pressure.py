"""What the API makes of the bind pools' reports: pools that are small HTTP servers."""

import asyncio
import contextlib
import math

import pytest
from aiohttp import web

from adapters.smpp.flow import pressure as pressures
from adapters.smpp.flow.pressure import PoolPressure
from domain.message import Category
from tests.waiting import eventually

KEY = "hok_0123456789abcdef"
LONGEST = 60.0
OTP, TRANSACTIONAL, MARKETING = Category.OTP, Category.TRANSACTIONAL, Category.MARKETING


class FakePool:
    """Says what it is told to."""

    def __init__(self):
        self.asked = 0
        self.says = {"boot": "1", "lag_s": 0.0, "arrived": {}, "queues": []}
        self.is_broken = False

    def queues(self, *rows):
        """Rows of tenant, category, waiting, per_second."""
        names = ("tenant", "category", "waiting", "per_second")
        self.says["queues"] = [dict(zip(names, row, strict=True)) for row in rows]
        return self

    async def answer(self, request):
        assert request.path == "/admin/v1/queues"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        self.asked += 1
        if self.is_broken:
            return web.json_response({"error": "broken"}, status=500)
        return web.json_response(self.says)


@pytest.fixture
async def start(monkeypatch):
    """Starts fake pools and what follows them: `await start(pool, …)`."""
    monkeypatch.setattr(pressures, "INTERVAL", 0.01)
    async with contextlib.AsyncExitStack() as stack:

        async def start(*pools):
            urls = []
            for pool in pools:
                app = web.Application()
                app.router.add_get("/{path:.*}", pool.answer)
                runner = web.AppRunner(app)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                port = site._server.sockets[0].getsockname()[1]
                urls.append(f"http://127.0.0.1:{port}")
                pool.stop = runner.cleanup
            pressure = PoolPressure(urls, KEY, longest=LONGEST)
            stack.push_async_callback(pressure.close)
            for pool in pools:
                await noticed(pool)
            return pressure

        yield start


async def noticed(pool):
    """What a pool says from now on has been taken in."""
    asked = pool.asked
    await eventually(lambda: pool.asked >= asked + 3)


async def too_long(pressure, tenant="acme", category=TRANSACTIONAL, channel="sms"):
    """Seconds by which a message would wait too long, 0 for one that is let in."""
    return await pressure.admit(tenant, channel, category)


async def let_in(pressure, tenant="acme", queue="sms", *, there=True):
    """A message that is let in, and handed over."""
    assert await pressure.admit(tenant, queue, TRANSACTIONAL) == 0
    pressure.handed_over(tenant, queue, there=there)


ADMITTED = {
    # queues, lag, category of acme's message, seconds by which it would wait too long
    "nothing waits": ([], 0, TRANSACTIONAL, 0),
    "as long as it may": ([("acme", "transactional", 60, 1.0)], 0, TRANSACTIONAL, 0),
    "longer": ([("acme", "transactional", 610, 10.0)], 0, TRANSACTIONAL, 1),
    "another's": ([("other", "transactional", 610, 10.0)], 0, TRANSACTIONAL, 0),
    "what is less urgent is not waited for": ([("acme", "marketing", 610, 10.0)], 0, OTP, 0),
    "what is more urgent is": (
        [("acme", "otp", 310, 10.0), ("acme", "transactional", 310, 10.0)],
        0,
        MARKETING,
        2,
    ),
    "nobody knows how fast it goes": ([("acme", "transactional", 9999, None)], 0, TRANSACTIONAL, 0),
    "nothing goes": ([("acme", "transactional", 1, 0.0)], 0, TRANSACTIONAL, math.inf),
    "Restate is behind": ([], 65.0, TRANSACTIONAL, 5),
}


@pytest.mark.parametrize(("queues", "lag", "category", "seconds"), ADMITTED.values(), ids=ADMITTED)
async def test_what_would_wait_too_long_is_not_admitted(start, queues, lag, category, seconds):
    pool = FakePool().queues(*queues)
    pool.says["lag_s"] = lag
    pressure = await start(pool)
    assert await too_long(pressure, category=category) == pytest.approx(seconds)


async def test_mail_does_not_wait_for_carriers(start):
    pressure = await start(FakePool().queues(("acme", "transactional", 610, 10.0)))
    assert await too_long(pressure, channel="email") == 0


async def test_what_was_accepted_and_has_not_come_counts(start):
    pool = FakePool().queues(("acme", "transactional", 35, 1.0))
    pressure = await start(pool)
    for _ in range(20):
        await let_in(pressure)
        await let_in(pressure, queue=None)
        await let_in(pressure, "other")
        await let_in(pressure, there=False)
    pool.queues(("acme", "transactional", 55, 1.0))
    await noticed(pool)
    assert await too_long(pressure) == pytest.approx(15, abs=5)


async def test_what_has_come_is_counted_by_the_pool(start):
    pool = FakePool().queues(("acme", "transactional", 35, 1.0))
    pool.says["arrived"] = {"acme": 7}
    pressure = await start(pool)
    for _ in range(20):
        await let_in(pressure)
    pool.queues(("acme", "transactional", 55, 1.0)).says["arrived"] = {"acme": 27}
    await noticed(pool)
    assert await too_long(pressure) == 0


async def test_a_pool_that_was_started_again_counts_from_zero(start):
    pool = FakePool().queues(("acme", "transactional", 35, 1.0))
    pool.says["arrived"] = {"acme": 1000}
    pressure = await start(pool)
    for _ in range(20):
        await let_in(pressure)
    pool.queues(("acme", "transactional", 55, 1.0))
    pool.says |= {"boot": "2", "arrived": {"acme": 20}}
    await noticed(pool)
    assert await too_long(pressure) == 0


async def test_nothing_waits_so_what_did_not_come_is_forgotten(start):
    """It was canceled, or is another pool's."""
    pool = FakePool()
    pressure = await start(pool)
    for _ in range(5000):
        await let_in(pressure)
    await noticed(pool)
    assert await too_long(pressure) == 0
    pool.queues(("acme", "transactional", 55, 1.0))
    await noticed(pool)
    assert await too_long(pressure) == 0


@pytest.mark.parametrize("how", ["gone", "broken"])
async def test_what_a_pool_said_last_holds(start, how):
    pool = FakePool().queues(("acme", "transactional", 610, 10.0))
    pressure = await start(pool)
    if how == "gone":
        await pool.stop()
    else:
        pool.is_broken = True
        await noticed(pool)
    assert await too_long(pressure) == pytest.approx(1)


FLOOD = 400
"""Messages that nobody sees arrive: enough to say that everything is behind."""


async def test_what_does_not_arrive_holds_up_the_next(start):
    pool = FakePool().queues(("acme", "transactional", 1, 1000.0))
    pressure = await start(pool)
    for _ in range(FLOOD):
        await let_in(pressure)
    await noticed(pool)
    answers = await asyncio.gather(*(too_long(pressure, channel=None) for _ in range(FLOOD)))
    assert any(answers)


async def test_what_a_pool_was_behind_by_goes_with_it(start, monkeypatch):
    monkeypatch.setattr(pressures, "_SILENT", 0.05)
    behind, well = FakePool(), FakePool()
    behind.says["lag_s"] = LONGEST + 5
    pressure = await start(behind, well)
    assert await too_long(pressure) == pytest.approx(5)
    behind.is_broken = True
    await eventually(lambda: pressure.excess("acme", "sms", OTP) == 0)


async def test_mail_does_not_wait_for_pools_that_are_gone(start, monkeypatch):
    monkeypatch.setattr(pressures, "_SILENT", 0.02)
    pool = FakePool().queues(("acme", "transactional", 1, 1000.0))
    pressure = await start(pool)
    pool.is_broken = True
    asked = pool.asked
    await eventually(lambda: pool.asked > asked + 10)
    for _ in range(FLOOD):
        await let_in(pressure)
    await noticed(pool)
    answers = await asyncio.gather(*(too_long(pressure, channel=None) for _ in range(FLOOD)))
    assert not any(answers)


async def test_of_a_pool_that_never_said_anything_nothing_is_held(start):
    pool = FakePool()
    pool.is_broken = True
    assert await too_long(await start(pool)) == 0


async def test_several_pools_are_one_queue(start):
    pools = [
        FakePool().queues(("acme", "transactional", 400, 10.0)),
        FakePool().queues(("acme", "transactional", 900, 10.0)),
    ]
    pressure = await start(*pools)
    # 1300 at 20 a second.
    assert await too_long(pressure) == pytest.approx(5)
    pools[1].queues()
    await noticed(pools[1])
    assert await too_long(pressure) == 0


# the carriers' troubles, what a client is told
STANDSTILLS = {
    "no carrier is known": ({}, None),
    "one is well": ({"telia": "telia: drained", "tdc": None}, None),
    "one is out of use": ({"telia": "telia: drained"}, "telia is drained"),
    "what it says itself is not for clients": (
        {"telia": "telia: suspended", "tdc": "tdc: connect 10.0.0.7:2775 refused"},
        "telia is suspended, tdc is down",
    ),
}


@pytest.mark.parametrize(("carriers", "told"), STANDSTILLS.values(), ids=STANDSTILLS)
async def test_why_nothing_gets_through(start, carriers, told):
    pool = FakePool()
    pool.says["carriers"] = [
        {"name": name, "trouble": trouble} if trouble else {"name": name}
        for name, trouble in carriers.items()
    ]
    pressure = await start(pool)
    assert pressure.standstill("sms") == told
    assert pressure.standstill("email") is None
