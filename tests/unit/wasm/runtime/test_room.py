"""The memory that a tenant's calls under way may hold."""

import asyncio

import pytest

from adapters.wasm.runtime.room import Room
from tests.waiting import eventually


def somebody_waits(room):
    """Whoever waits is not overtaken, not even by one that needs nothing."""
    return not room.take("acme", 0)


def test_a_tenant_has_its_budget_and_no_more():
    room = Room(100)
    assert [room.take("acme", 40) for _ in range(3)] == [True, True, False]
    assert room.take("acme", 20)
    assert room.take("other", 100)
    room.give_back("acme", 40)
    assert room.used("acme") == 60
    assert room.take("acme", 40)


async def test_who_waits_comes_first():
    room = Room(100)
    assert room.take("acme", 60)
    large = asyncio.create_task(room.wait("acme", 80, 10))
    small = asyncio.create_task(room.wait("acme", 10, 10))
    await eventually(lambda: somebody_waits(room))
    # There would be room for it, and somebody waits.
    assert not room.take("acme", 10)
    assert room.take("other", 10)
    room.give_back("acme", 60)
    await asyncio.gather(large, small)
    assert room.used("acme") == 90
    assert room.take("acme", 10)


@pytest.mark.parametrize("given", [False, True], ids=["still waiting", "let in just now"])
async def test_who_gives_up_holds_nothing(given):
    room = Room(100)
    assert room.take("acme", 60)
    gone = asyncio.create_task(room.wait("acme", 80, 10))
    behind = asyncio.create_task(room.wait("acme", 30, 10))
    await eventually(lambda: somebody_waits(room))
    if given:
        room.give_back("acme", 60)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await behind
    assert room.used("acme") == (30 if given else 90)


async def test_waiting_has_an_end():
    room = Room(100)
    assert room.take("acme", 60)
    with pytest.raises(TimeoutError):
        await room.wait("acme", 80, 0.01)
    assert room.take("acme", 40)
    room.give_back("acme", 60)
    room.give_back("acme", 40)
    assert room.used("acme") == 0
