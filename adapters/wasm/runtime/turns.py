"""Turns on the event loop: guests' calls leave the others theirs."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

AT_ONCE: Final = 8
"""Guest calls in one pass of the loop: about a millisecond."""


class Turns:
    """Lets AT_ONCE through in each pass of the loop, first come, first served.

    Without it five hundred messages that arrive together would hold the loop for as long as all of
    them take.
    """

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False

    def at_once(self) -> bool:
        """Take a turn if there is one; otherwise `take` waits for it."""
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_pass)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return True
        return False

    async def take(self) -> None:
        """Return when it is the caller's turn: at once, most of the time."""
        if not self.at_once():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def _next_pass(self) -> None:
        self._left = AT_ONCE
        while self._left > 0 and self._waiting:
            turn = self._waiting.popleft()
            # One that was cancelled takes nobody's turn.
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        self._counting = self._left < AT_ONCE or bool(self._waiting)
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next_pass)
