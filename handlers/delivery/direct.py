"""The delivery services without Restate in between: for attempts that need no step of their own.

What makes it right is what makes a repeated call of Restate's right: each service knows an attempt
again, by a journal of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from restate import Service, TerminalError

from adapters.restate.stepless import NO_STEPS, check_stepless
from domain.delivery import DeliveryRequest, Submission
from domain.mode import Mode

_log = logging.getLogger(__name__)
_SAID_EVERY: Final = 60.0
"""Seconds between two lines about a service that gives no answer: it may give none for long."""

Way = Callable[[DeliveryRequest], Awaitable[Submission]]
"""Hands an attempt to one service. Raises OSError when nobody can be asked."""


class Direct:
    """The services that a process serves itself, and the ways to those of others.

    Raises ValueError for a service of `here` that keeps a journal of Restate's.
    """

    def __init__(self, here: Iterable[Service] = (), elsewhere: Mapping[str, Way] = {}) -> None:
        self._ways: dict[str, Way] = dict(elsewhere)
        for service in here:
            check_stepless(service)
            self._ways[service.name] = _calling(service)
        self._said: dict[str, float] = {}

    async def deliver(
        self, service: str, request: DeliveryRequest, patience: float
    ) -> Submission | None:
        """A service's answer; None when it cannot be had here, or not within `patience` seconds."""
        way = self._ways.get(service)
        if way is None or request.mode is not Mode.LIVE:
            return None
        try:
            async with asyncio.timeout(patience):
                return await way(request)
        except (OSError, TimeoutError, TerminalError) as error:
            self._say(service, error)
            return None
        except Exception:
            _log.exception("%s/%d: %s did not answer", request.message, request.attempt, service)
            return None

    def _say(self, service: str, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said.get(service, -_SAID_EVERY) >= _SAID_EVERY:
            self._said[service] = now
            _log.warning("%s is asked by Restate, which costs twice as much: %r", service, error)


def _calling(service: Service) -> Way:
    deliver: Any = service.handlers["deliver"].fn

    async def call(request: DeliveryRequest) -> Submission:
        answer: Submission = await deliver(NO_STEPS, request)
        return answer

    return call
