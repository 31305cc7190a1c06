"""Who is let in while Restate is behind, and how fast: on a clock of our own."""

import asyncio
import selectors
from itertools import pairwise
from statistics import fmean

import pytest

from adapters.smpp.flow.gate import LAG, Gate
from adapters.smpp.flow.rate import BURST
from tests.waiting import eventually

BEHIND = 2 * LAG
PATIENCE = 3.0
OTP, TRANSACTIONAL, MARKETING = 0, 1, 2
MOMENT = 1e-4
"""Seconds that a few turns of the loop take."""


class Skipping(selectors.DefaultSelector):
    """Waits for nothing: the time that would have passed has. Each turn of the loop takes some,
    too, or a timer could be set for a moment that no float tells from now."""

    now = 1000.0

    def select(self, timeout=None):
        assert timeout is not None, "everybody waits, and for no timer"
        self.now += timeout + 1e-7
        return super().select(0)


@pytest.fixture
def gate(monkeypatch):
    """A gate on a loop whose time is that of the next timer: `gate.run(coroutine)`. It may be
    slower and is more patient than any in use, so that the numbers stay small and round."""
    monkeypatch.setattr("adapters.smpp.flow.gate._SLOWEST", 20.0)
    monkeypatch.setattr("adapters.smpp.flow.gate.PATIENCE", PATIENCE)
    selector = Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now
    gate = Gate(loop)
    gate.loop, gate.run = loop, loop.run_until_complete
    yield gate
    assert asyncio.all_tasks(loop) == set()
    loop.close()


def paced(gate, pace):
    """Close it to this pace."""
    gate.adapt(BEHIND, 2 * pace, gate.loop.time())
    assert gate.pace == pytest.approx(pace)
    return gate


async def entered(gate, *who):
    """Who was let in, in order, with the time; `who` are (name, tenant, priority)."""
    order = []

    async def enter(name, tenant, priority):
        answer = await gate.enter(tenant, priority)
        order.append((name, gate.loop.time(), answer))

    await asyncio.gather(*(enter(*each) for each in who))
    return order


async def some_went_in(tasks):
    """Wait until the first of these have gone in: from then on the others are in the queue, since
    all were started together."""
    await eventually(lambda: any(task.done() for task in tasks), pause=0)
    assert not all(task.done() for task in tasks)


def crowd(count, tenant="bulk", priority=TRANSACTIONAL):
    return [(f"{tenant}{n}", tenant, priority) for n in range(count)]


# The pace

ADAPTED = {
    # (seconds after the one before, seconds behind, getting through), the pace afterwards
    "open until something is behind": ([(1, LAG, 50)], None),
    "below what gets through, the more is behind": ([(1, 1.4 * LAG, 100)], 80),
    "not below a tenth of it": ([(1, 100, 300)], 30),
    "not below the slowest": ([(1, BEHIND, 1)], 20),
    "at what gets through, when as much is behind as may be": (
        [(1, BEHIND, 100), (0.25, LAG, 100)],
        100,
    ),
    "above it, the less is behind": ([(1, BEHIND, 100), (0.25, 0.6 * LAG, 100)], 120),
    "after what gets through": ([(1, BEHIND, 100), (0.25, 0, 100), (0.25, 0, 300)], 450),
    "open again once nothing has been behind for a while": (
        [(1, BEHIND, 100), *[(0.25, 0, 10)] * 8],
        None,
    ),
    "not before": ([(1, BEHIND, 100), *[(0.25, 0, 40)] * 7], 60),
    "not while something is behind now and then": (
        [(1, BEHIND, 100), *[(0.25, 0, 40)] * 4, (0.25, BEHIND, 40), *[(0.25, 0, 40)] * 7],
        60,
    ),
}


@pytest.mark.parametrize(("steps", "pace"), ADAPTED.values(), ids=ADAPTED)
def test_pace(gate, steps, pace):
    now = gate.loop.time()
    for after, behind, getting_through in steps:
        now += after
        gate.adapt(behind, getting_through, now)
    assert gate.pace == (None if pace is None else pytest.approx(pace))


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_several_that_know_the_sum_only_let_in_no_more_than_gets_through(gate, processes):
    """Each sees what gets through of all; what each lets in comes on top of the others'."""
    capacity, under_way, now = 1000.0, 1000.0, gate.loop.time()
    rates = []
    for _ in range(400):
        now += 0.25
        gate.adapt(under_way / capacity, min(capacity, under_way / 0.25), now)
        let_in = capacity if gate.pace is None else processes * gate.pace
        under_way = max(under_way + (let_in - capacity) * 0.25, 0.0)
        assert under_way / capacity <= 4 * LAG
        rates.append(let_in)
    assert fmean(rates[-100:]) == pytest.approx(capacity, rel=0.05)


def test_it_does_not_open_upon_those_who_wait(gate):
    async def story():
        waiting = [asyncio.ensure_future(gate.enter("bulk", TRANSACTIONAL)) for _ in range(80)]
        await some_went_in(waiting)
        gate.adapt(0, 70, gate.loop.time() + 2)
        assert gate.pace is not None
        await asyncio.gather(*waiting)
        gate.adapt(0, 70, gate.loop.time() + 3)
        assert gate.pace is not None
        gate.adapt(0, 70, gate.loop.time() + 5)
        assert gate.pace is None

    paced(gate, 70)
    gate.run(story())


# Who goes in


def test_an_open_gate_lets_everybody_in_at_once(gate):
    start = gate.loop.time()
    order = gate.run(entered(gate, *crowd(5000)))
    assert {answer for _, _, answer in order} == {0.0}
    assert order[-1][1] == pytest.approx(start, abs=MOMENT)


def test_no_faster_than_its_pace(gate):
    paced(gate, 50)
    start, count = gate.loop.time(), int(50 * PATIENCE)
    order = gate.run(entered(gate, *crowd(count)))
    assert {answer for _, _, answer in order} == {0.0}
    times = [at for _, at, _ in order]
    for tenths in range(int(PATIENCE * 10)):
        let_in = sum(at <= start + tenths / 10 for at in times)
        assert let_in <= 50 * (tenths / 10 + BURST) + 1
    assert times[-1] == pytest.approx(start + PATIENCE, abs=BURST + 0.05)


def test_a_slower_pace_is_kept_by_those_who_wait_already(gate):
    paced(gate, 100)
    start = gate.loop.time()
    gate.loop.call_later(1.0, lambda: gate.adapt(BEHIND, 40, gate.loop.time()))
    order = gate.run(entered(gate, *crowd(150)))
    later = [at for _, at, answer in order if at > start + 1.1 and not answer]
    assert len(later) >= (PATIENCE - 1.2) * 20
    assert all(b - a >= 1 / 20 - MOMENT for a, b in pairwise(later))


@pytest.mark.parametrize(
    ("who", "order"),
    [
        ([*crowd(3, "a"), *crowd(2, "b")], "a0 b0 a1 b1 a2"),
        ([*crowd(2, "a", MARKETING), *crowd(2, "b")], "b0 b1 a0 a1"),
        ([*crowd(20, "bulk"), *crowd(1, "small")], "bulk0 small0 bulk1"),
    ],
)
def test_each_tenant_in_turn_and_by_priority(gate, who, order):
    paced(gate, 20)
    # What is let in at once without having waited is not in question.
    gate.run(entered(gate, *crowd(1, "first")))
    names = [name for name, _, _ in gate.run(entered(gate, *who))]
    assert names[: len(order.split())] == order.split()


def test_the_urgent_are_next_though_the_queue_is_full_of_others(gate):
    paced(gate, 20)

    async def story():
        waiting = [
            asyncio.ensure_future(gate.enter("bulk", MARKETING)) for _ in range(int(20 * PATIENCE))
        ]
        waiting += [asyncio.ensure_future(gate.enter("bulk", MARKETING)) for _ in range(2)]
        await eventually(lambda: gate.full("bulk", MARKETING) > 0, pause=0)
        assert gate.full("bulk", OTP) == 0
        start = gate.loop.time()
        assert await gate.enter("bulk", OTP) == 0
        assert gate.loop.time() <= start + 2 / 20 + MOMENT
        await asyncio.gather(*waiting)

    gate.run(story())


@pytest.mark.parametrize("priority", [OTP, TRANSACTIONAL, MARKETING])
def test_who_would_wait_too_long_is_sent_away_at_once(gate, priority):
    paced(gate, 20)
    start = gate.loop.time()
    # One is let in at once, and so many wait as have their turn in time.
    fits = 1 + int(20 * PATIENCE)
    order = gate.run(entered(gate, *crowd(fits + 30, priority=priority)))
    away = [answer for _, at, answer in order if answer and at < start + MOMENT]
    assert away == [1.0] * 30


def test_a_full_queue_has_room_for_who_has_less_than_a_share(gate):
    paced(gate, 20)
    start = gate.loop.time()
    fits = 1 + int(20 * PATIENCE)
    order = gate.run(entered(gate, *crowd(fits + 30), *crowd(3, "small")))
    let_in = [(name, at) for name, at, answer in order if not answer and name.startswith("small")]
    assert [name for name, _ in let_in] == ["small0", "small1", "small2"]
    # In its turn, not behind all the others.
    assert let_in[-1][1] <= start + 8 / 20
    assert sum(answer > 0 for name, _, answer in order if name.startswith("bulk")) >= 30


def test_a_full_queue_says_so_beforehand(gate):
    paced(gate, 20)
    assert gate.full("bulk", MARKETING) == 0

    async def story():
        fits = int(20 * PATIENCE)
        waiting = [asyncio.ensure_future(gate.enter("bulk", MARKETING)) for _ in range(fits + 1)]
        await eventually(lambda: gate.full("bulk", MARKETING) > 0, pause=0)
        assert gate.full("bulk", MARKETING) == pytest.approx(1.0)
        assert gate.full("small", MARKETING) == 0
        await asyncio.gather(*waiting)
        assert gate.full("bulk", MARKETING) == 0

    gate.run(story())


def test_who_has_waited_too_long_is_sent_away(gate):
    """The pace has fallen meanwhile."""
    paced(gate, 100)
    start = gate.loop.time()
    gate.loop.call_later(1.0, lambda: gate.adapt(BEHIND, 0, gate.loop.time()))
    order = gate.run(entered(gate, *crowd(int(100 * PATIENCE))))
    away = [(at, answer) for _, at, answer in order if answer]
    assert len(away) > 50
    assert {answer for _, answer in away} == {1.0}
    assert all(at == pytest.approx(start + PATIENCE, abs=MOMENT) for at, _ in away)
    # Nobody of them is in the way of the next.
    [(_, at, answer)] = gate.run(entered(gate, *crowd(1)))
    assert answer == 0
    assert at <= start + PATIENCE + 1 / 20 + 1e-6


def test_one_who_gives_up_leaves_nothing_behind(gate):
    paced(gate, 20)

    async def story():
        tasks = [asyncio.ensure_future(gate.enter("bulk", MARKETING)) for _ in range(30)]
        await some_went_in(tasks)
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(a, asyncio.CancelledError) for a in answers) >= 28
        start = gate.loop.time()
        # Neither a place in the queue nor the tenant's turn is used up.
        order = await entered(gate, *crowd(2, "bulk", MARKETING), *crowd(2, "other", MARKETING))
        assert [name for name, _, _ in order] == ["bulk0", "other0", "bulk1", "other1"]
        assert order[-1][1] <= start + 4 / 20 + 1e-6

    gate.run(story())
