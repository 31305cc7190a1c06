"""One carrier's connection, kept up: dial, bind, hand out window slots, notice the loss, redial."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from dataclasses import dataclass

from adapters.smpp.constants import CommandStatus
from adapters.smpp.pdu import BindTransceiver, PduError
from adapters.smpp.session import (
    BindRefused,
    EsmeSession,
    OnDeliver,
    Timers,
    connect,
)

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
AFTER_BAD_CREDENTIALS = 60.0
"""Seconds between two dials, each with jitter: doubling from the first to the longest, and after a
refusal that no repetition will change."""
STEADY_AFTER = 5.0
"""Seconds after which a bind counts as a good one, whose loss is redialed at once."""

_BAD_CREDENTIALS = frozenset({CommandStatus.ESME_RINVPASWD, CommandStatus.ESME_RINVSYSID})


@dataclass(frozen=True, slots=True)
class Account:
    """An SMPP account with a carrier. `response_timeout` and the enquire_link interval are in
    seconds; `window` is the number of submits that may wait for their answers."""

    name: str
    host: str
    port: int
    system_id: str
    password: str
    system_type: str = ""
    window: int = 50
    enquire_link_interval: float = 2.0
    response_timeout: float = 10.0
    default_sender: str = "Hermes"
    tls: ssl.SSLContext | None = None


class Unavailable(Exception):
    """No window slot came free in time, or the carrier is not bound: nothing was written."""


class Slot:
    """The right to one submit on one session. Use it or give it back."""

    __slots__ = ("_link", "session")

    def __init__(self, link: Link, session: EsmeSession) -> None:
        self._link = link
        self.session = session

    def use(self, body: bytes) -> asyncio.Future[tuple[int, str]]:
        """Submit; the slot belongs to the session now. Raises as `EsmeSession.submit` does."""
        try:
            answer = self.session.submit(body)
        finally:
            self._link.slot_spent()
        answer.add_done_callback(self._link.slot_freed)
        return answer

    def give_back(self) -> None:
        """Not used after all."""
        self._link.slot_spent()
        self._link.slot_freed()


class Link:
    """A supervised connection to one carrier. Made on a running event loop."""

    def __init__(self, account: Account, on_deliver: OnDeliver) -> None:
        self.account = account
        self.last_error: str | None = None
        self.binds = 0
        self._on_deliver = on_deliver
        self._session: EsmeSession | None = None
        self._reserved = 0
        self._waiting: deque[asyncio.Future[Slot]] = deque()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def bound(self) -> bool:
        """Whether the carrier takes submits now, as far as we know."""
        return self._session is not None and self._session.is_bound

    async def slot(self, patience: float) -> Slot:
        """A window slot, waited for at most `patience` seconds, first come first served.

        Raises Unavailable.
        """
        # A response that came after its timer has freed its slot without a word.
        self.slot_freed()
        if not self._waiting and self._free() > 0:
            return self._reserve()
        ready: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(ready)
        try:
            async with asyncio.timeout(patience):
                return await ready
        except BaseException as error:
            if ready.done() and not ready.cancelled():
                # The slot and the interruption came together.
                ready.result().give_back()
            with contextlib.suppress(ValueError):
                self._waiting.remove(ready)
            if isinstance(error, TimeoutError):
                raise Unavailable(self.last_error or "the window is full") from None
            raise

    def slot_spent(self) -> None:
        """A reservation became a submit, or was given back."""
        self._reserved -= 1

    def slot_freed(self, _: object = None) -> None:
        """Let in as many as fit, in order."""
        while self._waiting and self._free() > 0:
            ready = self._waiting.popleft()
            if not ready.done():
                ready.set_result(self._reserve())

    async def close(self) -> None:
        """Unbind and stay down."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._session is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._session.unbind()
            except TimeoutError:
                self._session.abort()

    def _free(self) -> int:
        return self._session.free - self._reserved if self._session is not None else 0

    def _reserve(self) -> Slot:
        assert self._session is not None
        self._reserved += 1
        return Slot(self, self._session)

    async def _run(self) -> None:
        """Dial at once, then ever less often; credentials that were refused are not hammered."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            if pause:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            try:
                self._session = await self._dial()
            except BindRefused as refused:
                self.last_error = f"bind refused: {refused}"
                bad = refused.command_status in _BAD_CREDENTIALS
                pause = AFTER_BAD_CREDENTIALS if bad else _next(pause)
            except PduError as error:
                self.last_error = f"the account fits no bind: {error}"
                pause = AFTER_BAD_CREDENTIALS
            except OSError as error:
                self.last_error = f"cannot connect: {error or type(error).__name__}"
                pause = _next(pause)
            else:
                bound_at = loop.time()
                self.last_error = None
                self.binds += 1
                logger.info("bound to carrier %s", self.account.name)
                self.slot_freed()
                reason = await self._session.closed
                self._session = None
                # A carrier that hangs up on every bind is not to be dialed without a pause.
                pause = 0.0 if loop.time() - bound_at > STEADY_AFTER else _next(pause)
                self.last_error = f"link closed: {reason.value}"
            logger.warning("carrier %s: %s", self.account.name, self.last_error)

    async def _dial(self) -> EsmeSession:
        account = self.account
        return await connect(
            account.host,
            account.port,
            bind=BindTransceiver(
                system_id=account.system_id,
                password=account.password,
                system_type=account.system_type,
            ),
            on_deliver=self._on_deliver,
            window=account.window,
            timers=Timers(
                enquire_link=account.enquire_link_interval,
                enquire_link_timeout=account.enquire_link_interval,
                response=account.response_timeout,
            ),
            tls=account.tls,
        )


def _next(pause: float) -> float:
    return min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
