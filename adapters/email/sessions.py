"""Sessions with one relay, kept for the next mail: a handshake and a login cost more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import aiosmtplib

AT_ONCE: Final = 20
"""Sessions at once, unless an account says otherwise. Postfix allows a client 50, some providers
three; a mail that finds none free waits, which costs less than a session of its own would."""
IDLE: Final = 10.0
"""Seconds for which one waits. RFC 5321 section 4.5.3.2.7 has servers wait for five minutes; many
do not."""
MAILS: Final = 100
"""Mails in one session: some relays take no more, and a new one may meet another of theirs."""
_GOODBYE: Final = 1.0
_CLOSING: Final = 421
"""RFC 5321 section 3.8: the server ends a session whenever it wants, and says so to any command."""


@dataclass(slots=True)
class Session:
    """One connection, logged in. It is one mail's at a time."""

    client: aiosmtplib.SMTP
    mails: int = 0
    expiry: asyncio.TimerHandle | None = None


class Sessions:
    """Those that wait, and turns for as many as there may be. For one event loop."""

    def __init__(
        self, connect: Callable[[], Awaitable[aiosmtplib.SMTP]], at_once: int = AT_ONCE
    ) -> None:
        """`connect` opens a session; what it raises, `begin` raises."""
        self._connect = connect
        self._turns = asyncio.Semaphore(at_once)
        self._idle: list[Session] = []
        self._leaving: set[asyncio.Task[None]] = set()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until fewer than so many mails are on their way, first come, first served. Sessions
        that say goodbye are not counted."""
        return self._turns

    async def begin(self, sender: str) -> Session:
        """A session in which the relay has accepted this sender of the next mail.

        Raises what aiosmtplib raises. A session that the relay has ended meanwhile is no fault:
        nothing of the mail was said in it, and another takes its place.
        """
        while self._idle:
            session = self._wake()
            try:
                await session.client.mail(sender)
            except (aiosmtplib.SMTPServerDisconnected, ConnectionError):
                session.client.close()
            except aiosmtplib.SMTPResponseException as error:
                if error.code != _CLOSING:
                    self.leave(session)
                    raise
                session.client.close()
            except BaseException:
                session.client.close()
                raise
            else:
                return session
        session = Session(await self._connect())
        try:
            await session.client.mail(sender)
        except BaseException:
            self.leave(session)
            raise
        return session

    def keep(self, session: Session) -> None:
        """Keep a session whose mail was taken, for the next one."""
        session.mails += 1
        if session.mails >= MAILS or not session.client.is_connected:
            self.leave(session)
            return
        loop = asyncio.get_running_loop()
        session.expiry = loop.call_later(IDLE, self._expire, session)
        self._idle.append(session)

    def leave(self, session: Session) -> None:
        """Say goodbye, without waiting for the relay: the mail's fate is decided."""
        task = asyncio.get_running_loop().create_task(_hang_up(session.client))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Say goodbye in every session that waits."""
        while self._idle:
            self.leave(self._wake())
        await asyncio.gather(*self._leaving)

    def _wake(self) -> Session:
        """The one that waits for the shortest time, so that those too many come to their end."""
        session = self._idle.pop()
        if session.expiry is not None:
            session.expiry.cancel()
        return session

    def _expire(self, session: Session) -> None:
        self._idle.remove(session)
        self.leave(session)


async def _hang_up(client: aiosmtplib.SMTP) -> None:
    try:
        async with asyncio.timeout(_GOODBYE):
            if client.is_connected:
                await client.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        client.close()
