"""Tells one endpoint what waits for it: in order for each message, several messages at a time.

Repeating a post is what receivers expect, by `webhook-id`, so nothing here is journalled: what was
posted and not noted when the process died is posted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from adapters.callbacks.events import Due, EventStore, Health
from adapters.callbacks.outbox import HasDirectory
from adapters.callbacks.sender import CallbackForbidden, CallbackHeldUp, CallbackRefused
from domain.callback import (
    CONCURRENCY,
    ENDPOINT_PREFIX,
    MIN_TRIES,
    PATIENCE,
    TRIP,
    Endpoint,
    origin_of,
    pause_after,
    probe_pause_after,
)

logger = logging.getLogger(__name__)

BUDGET: Final = 20.0
"""Seconds of one run, after which the endpoint's next one begins: no handler runs for ever."""
_LINGER: Final = 0.25
"""Seconds that a run with nothing left to tell waits for more."""
_HELD_UP: Final = 5.0
"""Seconds until what we did not come to posting is tried."""
_FETCHED: Final = 256
_MAX_ERROR: Final = 200
NO_SECRET: Final = "the secret cannot be read: rotate it"  # noqa: S105
_PATIENCE: Final = PATIENCE.total_seconds()

Disable = Callable[[str, str], Awaitable[None]]
"""Disables an endpoint, for a reason."""
Outcome = Literal["delivered", "failed", "given_up"]
"""Of one try: after `failed` comes another one."""


class Poster(Protocol):
    """Posts one event."""

    async def send(
        self,
        url: str,
        secrets: tuple[str, ...],
        webhook_id: str,
        body: bytes,
        *,
        tenant: str = "",
    ) -> int:
        """Raises CallbackRefused, as CallbackHeldUp too, or CallbackForbidden."""

    async def secret_of(self, tenant: str) -> str:
        """What signs for a message's own address. Raises CallbackForbidden."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a post failed. `hopeless` is never tried again; `gone` wants nothing more at all."""

    error: str
    retry_after: float | None = None
    hopeless: bool = False
    gone: bool = False


class Pump:
    """Tells the endpoints of one process. An endpoint has one run at a time (its object in Restate
    sees to that); `look_again` makes a run that is under way notice what has come since."""

    def __init__(
        self,
        events: EventStore,
        endpoints: HasDirectory,
        poster: Poster,
        disable: Disable,
        *,
        budget: float = BUDGET,
        clock: Callable[[], float] = time.time,
        told: Callable[[str, Outcome], None] = lambda tenant, outcome: None,
    ) -> None:
        self._told = told
        self._events = events
        self._endpoints = endpoints
        self._poster = poster
        self._disable = disable
        self._budget = budget
        self._clock = clock
        self._running: dict[str, _Run] = {}

    def look_again(self, endpoint: str) -> bool:
        """Tell a run of this process that there is more; False when there is none."""
        run = self._running.get(endpoint)
        if run is None or run.ending:
            return False
        run.more = True
        run.news.set()
        return True

    async def run(self, endpoint: str) -> float | None:
        """Tell an endpoint what is due. Seconds after which something will be, 0 for at once, None
        when nothing waits that could be told."""
        configured = self._endpoints.value.get(endpoint)
        if endpoint.startswith(ENDPOINT_PREFIX):
            if configured is None or not configured.enabled:
                # It may have been made, or enabled, a moment ago by another process.
                await asyncio.to_thread(self._endpoints.refresh)
                configured = self._endpoints.value.get(endpoint)
            if configured is None:
                await self._events.drop(endpoint, "the endpoint was removed")
                return None
            if not configured.enabled:
                return None
        run = _Run(
            self._events,
            self._endpoints,
            self._poster,
            self._disable,
            self._clock,
            self._told,
            endpoint,
            configured,
        )
        self._running[endpoint] = run
        try:
            return await run.go(self._clock() + self._budget)
        finally:
            if self._running.get(endpoint) is run:
                del self._running[endpoint]


@dataclass(slots=True)
class _Run:
    events: EventStore
    endpoints: HasDirectory
    poster: Poster
    disable: Disable
    clock: Callable[[], float]
    count: Callable[[str, Outcome], None]
    endpoint: str
    configured: Endpoint | None
    secrets: tuple[str, ...] = ()
    health: Health = field(default_factory=Health)
    more: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)
    settling: list[asyncio.Future[int]] = field(default_factory=list)
    ending: bool = False
    disabled: bool = False
    withdrawn: bool = False
    told: bool = False
    noted: bool = True
    tenant: str = ""
    address: str = ""

    async def go(self, until: float) -> float | None:
        self.health = await self.events.health(self.endpoint)
        try:
            if self.down and not await self.try_out():
                return self.pause()
            await self.tell(until)
        finally:
            self.ending = True
            if not self.noted:
                await self.note_health()
        if self.down:
            return self.pause()
        if self.disabled:
            return None
        due_at = await self.events.next_due(self.endpoint)
        return None if due_at is None else max(due_at - self.clock(), 0.0)

    @property
    def down(self) -> bool:
        return self.health.failures >= TRIP

    def pause(self) -> float | None:
        """How long an endpoint that is down is left alone."""
        if self.disabled:
            return None
        return max((self.health.probe_at or 0.0) - self.clock(), 0.0)

    async def try_out(self) -> bool:
        """Try an endpoint that is down with one event, when its time has come. True when it is
        well again, or nothing waits for it."""
        if self.clock() < (self.health.probe_at or 0.0):
            return False
        event = await self.events.first(self.endpoint)
        if event is None:
            self.health = replace(self.health, failures=0, failing_since=None, probe_at=None)
            return True
        if await self.one(event):
            return True
        return not self.down

    async def tell(self, until: float) -> None:
        """Post what is due until nothing is, the time is over, or the endpoint is down."""
        ready: deque[list[Due]] = deque()
        busy: set[str] = set()
        tasks: dict[asyncio.Task[None], str] = {}
        try:
            while not (self.down or self.disabled or self.withdrawn):
                over = self.clock() >= until
                if over:
                    ready.clear()
                elif not ready and self.more:
                    ready.extend(await self.fetch(busy))
                while ready and len(tasks) < CONCURRENCY:
                    chain = ready.popleft()
                    busy.add(chain[0].message)
                    tasks[asyncio.create_task(self.in_order(chain))] = chain[0].message
                if not tasks:
                    if over or not self.told or not await self.has_news():
                        break
                    continue
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    busy.discard(tasks.pop(task))
                    task.result()
        finally:
            if tasks:
                await asyncio.gather(*tasks)
            await self.settle()

    async def settle(self) -> None:
        """Wait until everything that was told is noted."""
        settling, self.settling = self.settling, []
        if settling:
            await asyncio.gather(*settling)

    async def has_news(self) -> bool:
        """Wait a moment for more: it would cost another run."""
        self.news.clear()
        if self.more:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.news.wait(), _LINGER)
        return self.more

    async def fetch(self, busy: set[str]) -> list[list[Due]]:
        """What is due, by message, without those that are being told."""
        await self.settle()
        # Before the look: what is stored after it sets this again.
        self.more = False
        found = await self.events.due(self.endpoint, self.clock(), _FETCHED)
        if len(found) == _FETCHED:
            self.more = True
        chains: dict[str, list[Due]] = {}
        for event in sorted(found, key=lambda event: event.number):
            if event.message in busy:
                # An earlier one of its message may just be on its way.
                self.more = True
                continue
            chains.setdefault(event.message, []).append(event)
        return list(chains.values())

    async def in_order(self, chain: list[Due]) -> None:
        """Tell the events of one message, until one fails."""
        for event in chain:
            # Noted before the next one of its message: what was told twice, after a crash, was
            # told in order. Nobody waits for the last one's note.
            last = event is chain[-1]
            if self.down or self.disabled or not await self.one(event, noted=not last):
                return

    async def one(self, event: Due, *, noted: bool = True) -> bool:
        """Post one event and note what came of it; without `noted` that may come a little later.
        True when it was taken."""
        if self.configured is not None and not self.is_wanted():
            return False
        self.tenant, self.told = event.tenant, True
        url = event.url or (self.configured.url if self.configured is not None else "")
        self.address = origin_of(url) if event.url else url
        try:
            failed = await self.post(url, event)
        except CallbackHeldUp:
            await self.hold(event)
            return False
        now = self.clock()
        if failed is None:
            self.count(event.tenant, "delivered")
            self.health = Health(delivered_at=now, failed_at=self.health.failed_at)
            self.noted = False
            self.settling.append(self.events.delivered(event, now))
            if noted:
                await self.settle()
            return True
        await self.note_failure(event, failed, now)
        return False

    def is_wanted(self) -> bool:
        """Whether the endpoint is still there and enabled, and be at its address and secrets of the
        moment: a run takes longer than a change may. The next run sees to one that is not."""
        directory = self.endpoints.value
        found = directory.get(self.endpoint)
        if found is None or not found.enabled:
            self.withdrawn = True
            return False
        self.configured = found
        self.secrets = directory.secrets(self.endpoint, self.clock())
        return True

    async def hold(self, event: Due) -> None:
        """Let an event wait that we did not come to posting: nothing is held against anybody."""
        later = self.clock() + _spread(_HELD_UP)
        if self.down:
            self.health = replace(self.health, probe_at=later)
            await self.note_health()
        await self.events.hold(event, later)

    async def post(self, url: str, event: Due) -> _Failed | None:
        """None when it was taken. Raises CallbackHeldUp."""
        try:
            if event.url is not None and not self.secrets:
                # One tenant's: the endpoint stands for its messages' addresses on one host.
                self.secrets = (await self.poster.secret_of(event.tenant),)
            if not self.secrets:
                return _Failed(NO_SECRET)
            await self.poster.send(url, self.secrets, event.id, event.body, tenant=event.tenant)
        except CallbackHeldUp:
            raise
        except CallbackRefused as refused:
            return _Failed(str(refused)[:_MAX_ERROR], refused.retry_after, gone=refused.gone)
        except CallbackForbidden as forbidden:
            return _Failed(str(forbidden)[:_MAX_ERROR], hopeless=self.configured is None)
        return None

    async def note_failure(self, event: Due, failed: _Failed, now: float) -> None:
        """Decide what becomes of an event that was not taken, and of its endpoint."""
        failures = self.health.failures + 1
        since = self.health.failing_since or now
        tries = event.tries + 1
        self.health = replace(
            self.health,
            failures=failures,
            failing_since=since,
            failed_at=now,
            error=failed.error,
            probe_at=now + _spread(probe_pause_after(failures, failed.retry_after)),
        )
        impatient = now - event.created_at > _PATIENCE and tries >= MIN_TRIES and not self.down
        self.count(event.tenant, "given_up" if failed.hopeless or impatient else "failed")
        if failed.hopeless or impatient:
            await self.events.give_up(event, now, failed.error)
        else:
            pause = _spread(pause_after(tries, failed.retry_after))
            await self.events.postpone(event, now + pause, failed.error)
        await self.note_health()
        if self.configured is not None and failed.gone:
            await self.switch_off("the endpoint answered 410 Gone")
        elif now - since > _PATIENCE and failures >= MIN_TRIES:
            days = round(_PATIENCE / 86_400)
            if self.configured is not None:
                await self.switch_off(f"it has failed for {days} days: {failed.error}")
            else:
                await self.events.drop(self.endpoint, failed.error, now - _PATIENCE)

    async def switch_off(self, because: str) -> None:
        if not self.disabled:
            self.disabled = True
            logger.warning("callback endpoint %s is disabled: %s", self.endpoint, because)
            await self.disable(self.endpoint, because)

    async def note_health(self) -> None:
        self.noted = True
        await self.events.note_health(self.endpoint, self.tenant, self.address, self.health)


def _spread(pause: float) -> float:
    """A tenth more or less, so that what failed together does not come back together."""
    return pause * random.uniform(0.9, 1.1)
