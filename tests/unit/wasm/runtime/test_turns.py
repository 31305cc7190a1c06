"""Guests on the event loop leave the others their turns."""

import asyncio

from adapters.wasm.runtime.turns import AT_ONCE, Turns


async def test_others_have_their_turns_between_those_of_guests():
    turns, order = Turns(), []

    async def guest(number):
        await turns.take()
        order.append(number)

    def other():
        order.append("other")
        if len([each for each in order if each != "other"]) < 5 * AT_ONCE:
            loop.call_soon(other)

    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        for number in range(5 * AT_ONCE):
            group.create_task(guest(number))
        loop.call_soon(other)
    guests = [each for each in order if each != "other"]
    assert guests == list(range(5 * AT_ONCE))
    runs = "".join("." if each == "other" else "g" for each in order).split(".")
    assert max(map(len, runs)) <= AT_ONCE


async def test_one_alone_does_not_wait():
    turns = Turns()
    coroutine = turns.take()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


async def test_one_that_is_cancelled_takes_nobodys_turn():
    turns = Turns()
    tasks = [asyncio.create_task(turns.take()) for _ in range(3 * AT_ONCE)]
    for task in tasks[AT_ONCE : 2 * AT_ONCE]:
        # After each has asked for its turn, and before the loop's next pass.
        asyncio.get_running_loop().call_soon(task.cancel)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [
        AT_ONCE <= number < 2 * AT_ONCE for number in range(3 * AT_ONCE)
    ]
