"""A delivery's time: nothing leaves when it is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from adapters.wasm.contract import HttpError, HttpPort, HttpRequest, HttpResponse

Done = TypeVar("Done")


class TooLate(Exception):
    """The time is up, and no request that could have sent the message has left."""


class Timely:
    """The way out for one delivery: a request has what is left of the time, and none begins
    after it.

    `not_after` is read by the clock once: from then on it is a length of time.
    """

    def __init__(self, port: HttpPort, not_after: datetime, now: datetime) -> None:
        self._port = port
        self._due = time.monotonic() + (not_after - now).total_seconds()
        self._sent = False

    def check(self) -> None:
        """Raise TooLate where nothing was sent, and nothing can be any more."""
        if not self._sent and self._left() <= 0:
            raise TooLate

    def within(self, function: Callable[..., Done]) -> Callable[..., Done]:
        """The function, which raises TooLate instead where that is known when it begins: it may
        have waited for its turn."""

        def timely(*arguments: object) -> Done:
            self.check()
            return function(*arguments)

        return timely

    async def send(self, request: HttpRequest) -> HttpResponse | HttpError:
        """Make a request in the time that is left. Raises TooLate.

        Once something was sent the guest hears of the time instead: it knows what became of it.
        """
        left = int(self._left() * 1_000)
        if left <= 0:
            if not self._sent:
                raise TooLate
            return HttpError("timeout", "the message's time is up")
        most = left if request.timeout_ms is None else min(left, request.timeout_ms)
        answer = await self._port.send(msgspec.structs.replace(request, timeout_ms=most))
        unsent = isinstance(answer, HttpError) and not answer.maybe_sent
        if request.method != "GET" and not unsent:
            self._sent = True
        return answer

    def _left(self) -> float:
        return self._due - time.monotonic()
