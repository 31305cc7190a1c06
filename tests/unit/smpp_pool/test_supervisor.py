"""Restarts: at once, then ever less often, then told."""

import asyncio
from types import SimpleNamespace

import pytest

from adapters.smpp.carriers import supervisor as supervisors
from adapters.smpp.carriers.supervisor import Exit, Intensity, Supervisor
from tests.waiting import eventually

INTENSITY = Intensity(
    first_pause=0.2,
    longest_pause=2.0,
    slow_pause=5.0,
    hopeless_pause=60.0,
    steady=2.0,
    failures=5,
    period=60.0,
)
FAILED = Exit("cannot connect")
BRIEF = Exit("link closed", lasted=0.5)
STEADY = Exit("link closed", lasted=100.0)
HOPELESS = Exit("bad password", hopeless=True)


class Child:
    """Lives the lives it is given, then one until `ends` says how it ends."""

    def __init__(self, *lives):
        self.lives = list(lives)
        self.lived = 0
        self.ends = asyncio.Queue()

    async def live(self):
        self.lived += 1
        if self.lives:
            life = self.lives.pop(0)
            if isinstance(life, Exception):
                raise life
            return life
        return await self.ends.get()


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were asked for, without jitter; none lasts."""
    asked = []
    monkeypatch.setattr("random.uniform", lambda low, high: high)

    async def short(seconds):
        asked.append(seconds)

    # Of that module only: the test and the loop go on with the real one.
    monkeypatch.setattr(
        supervisors, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": short})
    )
    return asked


@pytest.fixture
async def supervise():
    made = []

    def supervise(*children, intensity=INTENSITY):
        escalations = []
        supervisor = Supervisor(intensity, escalations.append)
        supervisor.escalations = escalations
        for number, child in enumerate(children):
            supervisor.start(child, f"child/{number}", child.live)
        made.append(supervisor)
        return supervisor

    yield supervise
    for supervisor in made:
        await supervisor.close()


PAUSES = [
    # the ends of the lives, in order; the pauses before the next ones; what was told
    ([STEADY, STEADY, STEADY], [], []),
    ([FAILED] * 5, [0.2, 0.4, 0.8, 1.6, 2.0], []),
    ([FAILED] * 7, [0.2, 0.4, 0.8, 1.6, 2.0, 5.0, 5.0], [True]),
    ([BRIEF] * 7, [0.2, 0.4, 0.8, 1.6, 2.0, 5.0, 5.0], [True]),
    ([FAILED] * 4 + [STEADY] + [FAILED] * 4, [0.2, 0.4, 0.8, 1.6, 0.2, 0.4, 0.8, 1.6], []),
    ([HOPELESS] * 2, [60.0, 60.0], [True]),
    ([HOPELESS, FAILED], [60.0, 5.0], [True]),
    ([ValueError("a bug"), ValueError("a bug")], [0.2, 0.4], []),
]


@pytest.mark.parametrize(("ends", "expected", "told"), PAUSES)
async def test_pauses(supervise, pauses, ends, expected, told):
    child = Child(*ends)
    supervisor = supervise(child)
    await eventually(lambda: child.lived == len(ends) + 1, pause=0)
    assert pauses == expected
    assert supervisor.escalations == told
    assert supervisor.escalated is bool(told)
    assert supervisor.restarts == len(ends)


async def test_pauses_are_shortened_at_random(supervise, pauses, monkeypatch):
    asked = []
    monkeypatch.setattr("random.uniform", lambda *bounds: asked.append(bounds) or 0.75)
    child = Child(FAILED)
    supervise(child)
    await eventually(lambda: child.lived == 2, pause=0)
    assert pauses == [pytest.approx(0.15)]
    assert asked == [(0.5, 1.0)]


async def test_failures_far_apart_are_not_told(supervise, pauses, monkeypatch):
    clock = iter(range(0, 10_000, 20))
    child = Child(*[FAILED] * 20)
    supervisor = supervise(child)
    monkeypatch.setattr(supervisor, "_loop", type("Clock", (), {"time": lambda _: next(clock)})())
    await eventually(lambda: child.lived == 21, pause=0)
    assert supervisor.escalations == []


async def test_steady_service_ends_the_alarm(supervise, pauses):
    child = Child(*[FAILED] * 7)
    supervisor = supervise(child)
    await eventually(lambda: child.lived == 8, pause=0)
    supervisor.steady()
    supervisor.steady()
    assert (supervisor.escalated, supervisor.escalations) == (False, [True, False])
    for _ in range(5):
        child.ends.put_nowait(FAILED)
    await eventually(lambda: child.lived == 13, pause=0)
    assert supervisor.escalations == [True, False]


async def test_one_for_one(supervise, pauses):
    failing, well = Child(*[FAILED] * 3), Child()
    supervise(failing, well)
    await eventually(lambda: failing.lived == 4, pause=0)
    assert well.lived == 1


async def test_children_failing_together_are_told(supervise, pauses):
    """Six connections of one carrier, each lost once."""
    supervisor = supervise(*(Child(FAILED) for _ in range(6)))
    await eventually(lambda: supervisor.restarts == 6, pause=0)
    assert supervisor.escalations == [True]


async def test_a_retired_child_ends_with_its_present_life(supervise, pauses):
    child = Child()
    supervisor = supervise(child)
    await eventually(lambda: child.lived == 1, pause=0)
    supervisor.retire(child)
    child.ends.put_nowait(STEADY)
    await eventually(lambda: not [t for t in asyncio.all_tasks() if "_keep" in repr(t)], pause=0)
    assert (child.lived, supervisor.restarts) == (1, 0)


async def test_stop_cancels_the_present_life_and_only_that_child(supervise, pauses):
    gone, here = Child(), Child()
    supervisor = supervise(gone, here)
    await eventually(lambda: gone.lived == here.lived == 1, pause=0)
    await supervisor.stop(gone)
    await supervisor.stop(gone)
    gone.ends.put_nowait(STEADY)
    here.ends.put_nowait(STEADY)
    await eventually(lambda: here.lived == 2, pause=0)
    assert gone.lived == 1
