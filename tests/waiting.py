"""Waiting until something is true. The only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.store.sections import POLL

T = TypeVar("T")
_LEEWAY = 2.0
"""Seconds more than is promised: a machine that runs other things, too, may be late."""


def until(probe: Callable[[], T], within: float = 15.0, pause: float = 0.02) -> T:
    """Ask `probe` until its answer is truthy, and return that answer.

    Fails after `within` seconds, showing the last answer.
    """
    deadline = time.monotonic() + within
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {within} s; last answer: {answer!r}"
        time.sleep(pause)
    return answer


def known_everywhere() -> None:
    """Wait until every process works with what was just changed in the database.

    That is promised within a second (`adapters/store/sections.py`), and a process that cannot be
    asked what it knows leaves nothing to look at.
    """
    time.sleep(2 * POLL + _LEEWAY)


async def eventually(
    probe: Callable[[], T | Awaitable[T]], within: float = 10.0, pause: float = 0.002
) -> T:
    """The same on an event loop that has work of its own to do meanwhile. The probe may be a
    coroutine function."""
    deadline = time.monotonic() + within
    while not (answer := await _answer(probe())):
        assert time.monotonic() < deadline, f"not within {within} s; last answer: {answer!r}"
        await asyncio.sleep(pause)
    return answer


async def _answer(given: T | Awaitable[T]) -> T:
    return await given if inspect.isawaitable(given) else given
