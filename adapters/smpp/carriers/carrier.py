"""A carrier: its connections under one supervisor, its rate, and the queue before them.

Work is taken by demand: a request waits here until a connection has window and the buckets have a
token. When nothing asks for it in time, its owner hears `Unavailable` and looks elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from adapters.smpp.carriers.config import CarrierConfig, status_of
from adapters.smpp.carriers.connection import Answer, Connection
from adapters.smpp.carriers.outcomes import Refusal, declared, refusal
from adapters.smpp.carriers.supervisor import Exit, Intensity, Supervisor
from adapters.smpp.flow.fairness import FairQueue
from adapters.smpp.flow.rate import AdaptiveRate, TokenBucket
from adapters.smpp.protocol.constants import status_name
from adapters.smpp.protocol.session import OnDeliver

logger = logging.getLogger(__name__)

_LIVE = frozenset(
    {
        *("rate", "bind_rate", "window", "binds", "default_sender", "source_numeric"),
        *("source_alphanumeric", "destination", "service_type", "default_alphabet"),
        *("concatenation", "validity", "receipts", "ids", "command_status", "prefixes", "price"),
    }
)
"""What changes without a new bind."""
_BINDING = frozenset(CarrierConfig.model_fields) - _LIVE
_FAREWELL = 1.0
"""Seconds for what is in flight to be answered, and the unbind, when this process ends."""


class Unavailable(Exception):
    """The carrier takes nothing now, and nothing was written. `down` says that waiting for it is
    no use: it is not bound, or an operator has taken it out."""

    def __init__(self, reason: str, *, down: bool) -> None:
        super().__init__(reason)
        self.down = down


class CarrierState(str, Enum):
    """What a carrier does at the moment."""

    UP = "up"  # at least one connection is bound
    CONNECTING = "connecting"
    DOWN = "down"  # its connections keep failing
    SUSPENDED = "suspended"  # bound, hears receipts, is given nothing
    DRAINING = "draining"  # given nothing; unbinds once everything is answered
    DRAINED = "drained"


class Order(str, Enum):
    """What an operator wants of a carrier."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class ConnectionHealth:
    """One connection as it stands. `bound_at` is in seconds since the epoch."""

    name: str
    host: str | None
    bound: bool
    bound_at: float | None
    binds: int
    in_flight: int
    window: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CarrierHealth:
    """A carrier as it stands. Rates are parts a second; `rate` is None without a limit."""

    name: str
    state: CarrierState
    rate: float | None
    configured_rate: float | None
    accepted_per_second: int
    queued: int
    submitted: int
    accepted: int
    refused: int
    throttled: int
    unknown: int
    receipts: int
    last_error: str | None
    last_refusal: str | None
    restarts: int
    connections: tuple[ConnectionHealth, ...]


@dataclass(slots=True)
class Counters:
    """What has happened since the process began, in parts."""

    submitted: int = 0
    accepted: int = 0
    refused: int = 0
    throttled: int = 0
    unknown: int = 0
    receipts: int = 0
    last_refusal: str | None = None


class Lease:
    """The right to submit `parts` parts on one connection. Use each or give the rest back."""

    __slots__ = ("_left", "carrier", "connection")

    def __init__(self, carrier: Carrier, connection: Connection, parts: int) -> None:
        self.carrier = carrier
        self.connection = connection
        self._left = parts

    def submit(self, body: bytes, until: float) -> Answer:
        """Submit one part; see `Connection.submit`."""
        self._left -= 1
        self.carrier.counters.submitted += 1
        return self.connection.submit(body, until)

    def give_back(self) -> None:
        """What is left is not used after all."""
        left, self._left = self._left, 0
        if left > 0:
            self.carrier.returned(self.connection, left)


@dataclass(slots=True)
class _Waiter:
    parts: int
    ready: asyncio.Future[Lease] = field(repr=False)


class Carrier:
    """One account with a carrier. Made on a running event loop; it dials at once."""

    def __init__(
        self,
        config: CarrierConfig,
        on_deliver: OnDeliver,
        *,
        order: Order = Order.ACTIVE,
        intensity: Intensity | None = None,
        on_state: Callable[[Carrier], None] = lambda carrier: None,
    ) -> None:
        self.config = config
        self.order = order
        self.counters = Counters()
        self._declared: dict[int, Refusal] = {}
        self._intensity = intensity or Intensity()
        self._on_deliver = on_deliver
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._adaptive = AdaptiveRate(config.rate, now)
        self._bucket = TokenBucket(config.rate, now)
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._waiting: Counter[int] = Counter()
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = 0.0
        self._connections: dict[int, Connection] = {}
        self._leaving: dict[Connection, asyncio.Task[None]] = {}
        self._supervisor = Supervisor(self._intensity, self._escalated)
        self._told = CarrierState.CONNECTING
        self._rolling: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._understand(config)
        if order is not Order.DRAINED:
            self._grow_to(config.binds)

    @property
    def name(self) -> str:
        """The carrier's name in the configuration."""
        return self.config.name

    @property
    def bound(self) -> bool:
        """Whether a connection is bound."""
        return any(connection.bound for connection in self._connections.values())

    @property
    def usable(self) -> bool:
        """Whether the router should give it anything."""
        return self.order is Order.ACTIVE and self.bound

    @property
    def state(self) -> CarrierState:
        """What it does at the moment."""
        if self.order is Order.DRAINED:
            return CarrierState.DRAINING if self._leaving else CarrierState.DRAINED
        if self.order is Order.SUSPENDED:
            return CarrierState.SUSPENDED
        if self.bound:
            return CarrierState.UP
        return CarrierState.DOWN if self._supervisor.escalated else CarrierState.CONNECTING

    @property
    def queued(self) -> int:
        """Requests that wait here for window or rate."""
        return len(self._queue)

    def queued_before(self, priority: int) -> int:
        """Those of them that one of this priority would wait for."""
        return sum(count for of, count in self._waiting.items() if of <= priority)

    @property
    def drain_rate(self) -> float:
        """Parts a second that it takes: what it took during the last second, 0 when not usable."""
        return float(self._adaptive.measured(self._loop.time())) if self.usable else 0.0

    def health(self) -> CarrierHealth:
        """Everything worth showing."""
        counters = self.counters
        connections = tuple(
            ConnectionHealth(
                name=c.name,
                host=f"{c.host.name}:{c.host.port}" if c.host else None,
                bound=c.bound,
                bound_at=c.bound_at,
                binds=c.binds,
                in_flight=c.in_flight,
                window=c.window,
                last_error=c.last_error,
            )
            for c in (*self._connections.values(), *self._leaving)
        )
        errors = [c.last_error for c in connections if c.last_error]
        return CarrierHealth(
            name=self.name,
            state=self.state,
            rate=self._adaptive.rate,
            configured_rate=self.config.rate,
            accepted_per_second=self._adaptive.measured(self._loop.time()),
            queued=self.queued,
            submitted=counters.submitted,
            accepted=counters.accepted,
            refused=counters.refused,
            throttled=counters.throttled,
            unknown=counters.unknown,
            receipts=counters.receipts,
            last_error=errors[-1] if errors else None,
            last_refusal=counters.last_refusal,
            restarts=self._supervisor.restarts,
            connections=connections,
        )

    # Giving work

    def try_lease(self, parts: int, priority: int) -> Lease | None:
        """A lease if there is room now and nothing of this priority or a higher one waits."""
        first = self._queue.first_priority()
        if first is not None and first <= priority:
            return None
        if not self.usable:
            return None
        connection = self._place(parts)
        return None if connection is None else self._reserve(connection, parts)

    async def lease(self, parts: int, *, priority: int, tenant: str, patience: float) -> Lease:
        """A lease, waited for at most `patience` seconds. Raises Unavailable."""
        lease = self.try_lease(parts, priority)
        if lease is not None:
            return lease
        if not self.usable:
            raise self._unavailable()
        waiter = _Waiter(parts, self._loop.create_future())
        entry = self._queue.push(waiter, priority=priority, tenant=tenant, weight=parts)
        self._waiting[priority] += 1
        try:
            async with asyncio.timeout(patience):
                return await waiter.ready
        except BaseException as error:
            ready = waiter.ready
            if ready.cancelled():
                self._queue.withdraw(entry)
                # It may have stood in the way of one that needs less.
                self._pump()
            elif ready.exception() is None:
                # The lease and the interruption came together.
                ready.result().give_back()
            if isinstance(error, TimeoutError):
                raise Unavailable("the window or the rate is used up", down=False) from None
            raise
        finally:
            self._waiting[priority] -= 1

    def answered(self, command_status: int, sent_at: float) -> None:
        """A submit that was sent at `sent_at` (loop time) has its answer."""
        now = self._loop.time()
        if not command_status:
            self.counters.accepted += 1
            if self._adaptive.accepted(now, sent_at):
                self._bucket.set_rate(self._adaptive.pace, now)
                self._pump()
        elif self.means(command_status).throttled:
            self.counters.throttled += 1
            self.counters.last_refusal = status_name(command_status)
            if self._adaptive.throttled(now, sent_at):
                self._bucket.set_rate(self._adaptive.pace, now)
                self._bucket.empty()
        else:
            self.counters.refused += 1
            self.counters.last_refusal = status_name(command_status)

    def means(self, command_status: int) -> Refusal:
        """What a command_status of this carrier means."""
        return self._declared.get(command_status) or refusal(command_status)

    def returned(self, connection: Connection, parts: int) -> None:
        """Parts of a lease are not used."""
        connection.reserved -= parts
        connection.bucket.give_back(parts)
        self._bucket.give_back(parts)
        self._pump()

    # What an operator does

    async def suspend(self) -> None:
        """Give it nothing; its binds stay and bring receipts."""
        await self._obey(Order.SUSPENDED)

    async def drain(self) -> None:
        """Give it nothing, let what is in flight be answered, unbind."""
        await self._obey(Order.DRAINED)

    async def resume(self) -> None:
        """Give it work again."""
        await self._obey(Order.ACTIVE)

    def configure(self, config: CarrierConfig) -> None:
        """Change the account while it runs; rebinds, one connection after the other, only when it
        must."""
        old, self.config = self.config, config
        now = self._loop.time()
        self._understand(config)
        if config.rate != old.rate:
            self._adaptive.set_limit(config.rate, now)
            self._bucket.set_rate(self._adaptive.pace, now)
        for connection in self._connections.values():
            connection.config = config
            connection.bucket.set_rate(config.bind_rate, now)
            if config.window != connection.window:
                connection.resize(config.window)
        if self.order is not Order.DRAINED:
            self._grow_to(config.binds)
            if any(map(self._is_stale, self._connections.values())):
                self._roll()
        self._pump()

    async def close(self) -> None:
        """Unbind and stay down."""
        self.order = Order.DRAINED
        self._stop_rolling()
        if self._wake is not None:
            self._wake.cancel()
        for number in list(self._connections):
            self._retire(number, _FAREWELL)
        if self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=_FAREWELL)
        await self._supervisor.close()
        if self._leaving:
            await asyncio.wait(self._leaving.values())
        self._fail_waiters()

    # Inside

    def _understand(self, config: CarrierConfig) -> None:
        self._declared = {
            status_of(status): declared(meaning)
            for status, meaning in config.command_status.items()
        }

    def _grow_to(self, binds: int) -> None:
        for number in range(1, binds + 1):
            if number not in self._connections:
                self._add(number)
        for number in [n for n in self._connections if n > binds]:
            self._retire(number)

    def _add(self, number: int) -> None:
        connection = Connection(
            number,
            self.config,
            on_deliver=self._on_deliver,
            on_room=self._pump,
            on_bound=self._bound,
        )
        self._connections[number] = connection

        async def life() -> Exit:
            try:
                return await connection.live()
            finally:
                self._lost()

        self._supervisor.start(connection, connection.name, life)

    def _retire(self, number: int, patience: float | None = None) -> asyncio.Task[None]:
        """Take a connection out of service and let it end in peace; the task is done when it has
        gone."""
        connection = self._connections.pop(number)
        self._supervisor.retire(connection)
        if patience is None:
            # For what is in flight, and for the unbind.
            patience = self.config.response_timeout + _FAREWELL
        leaving = self._loop.create_task(self._leave(connection, patience))
        self._leaving[connection] = leaving
        self._moved.set()
        self._lost()
        return leaving

    async def _leave(self, connection: Connection, patience: float) -> None:
        try:
            await connection.unbind(patience)
            await self._supervisor.stop(connection)
        finally:
            del self._leaving[connection]
            self._tell()

    def _is_stale(self, connection: Connection) -> bool:
        """Whether it is bound with what no longer holds."""
        old = connection.dialed_with
        return old is not None and any(
            getattr(old, name) != getattr(self.config, name) for name in _BINDING
        )

    def _roll(self) -> None:
        """Bind the stale connections again, one after the other, each once the one before it is
        bound: with a password that is refused, all but one go on as they are."""

        async def roll() -> None:
            while True:
                # What was left by a roll that this one replaced.
                self._grow_to(self.config.binds)
                stale = [n for n, c in self._connections.items() if self._is_stale(c)]
                if not stale:
                    return
                number = stale[0]
                await asyncio.shield(self._retire(number))
                self._add(number)
                connection = self._connections[number]
                while not connection.bound and self._connections.get(number) is connection:
                    self._moved.clear()
                    await self._moved.wait()

        self._stop_rolling()
        self._rolling = self._loop.create_task(roll())

    def _stop_rolling(self) -> None:
        if self._rolling is not None:
            self._rolling.cancel()

    async def _obey(self, order: Order) -> None:
        self.order = order
        if order is Order.DRAINED:
            self._stop_rolling()
            for number in list(self._connections):
                self._retire(number)
            self._fail_waiters()
            self._tell()
            if self._leaving:
                await asyncio.wait(self._leaving.values())
        else:
            self._grow_to(self.config.binds)
            if order is Order.SUSPENDED:
                self._fail_waiters()
            self._pump()
        self._tell()

    def _bound(self, connection: Connection) -> None:
        self._moved.set()
        self._loop.call_later(self._intensity.steady, self._is_steady, connection, connection.binds)
        self._tell()

    def _is_steady(self, connection: Connection, binds: int) -> None:
        if connection.bound and connection.binds == binds:
            self._supervisor.steady()

    def _lost(self) -> None:
        # Whoever waits for a carrier that has gone should look for another one at once.
        if not self.bound:
            self._fail_waiters()
        self._tell()

    def _escalated(self, escalated: bool) -> None:
        if escalated:
            logger.error("carrier %s is down: its binds keep failing", self.name)
        else:
            logger.info("carrier %s serves steadily again", self.name)
        self._tell()

    def _tell(self) -> None:
        if self.state is not self._told:
            self._told = self.state
            self._on_state(self)

    def why_not(self) -> str:
        """Why it is not usable, for people."""
        errors = [c.last_error for c in self._connections.values() if c.last_error]
        unwanted = self.order is not Order.ACTIVE
        return f"{self.name}: {errors[-1] if errors and not unwanted else self.state.value}"

    def _unavailable(self) -> Unavailable:
        return Unavailable(self.why_not(), down=True)

    def _fail_waiters(self) -> None:
        for waiter in self._queue.drain():
            if not waiter.ready.done():
                waiter.ready.set_exception(self._unavailable())

    def _reserve(self, connection: Connection, parts: int) -> Lease:
        connection.reserved += parts
        connection.bucket.take(parts)
        self._bucket.take(parts)
        return Lease(self, connection, parts)

    def _place(self, parts: int) -> Connection | None:
        """A connection with room for the parts and tokens for them; otherwise sees to it that the
        queue is looked at again when there may be one."""
        now = self._loop.time()
        if self._adaptive.grow(now):
            self._bucket.set_rate(self._adaptive.pace, now)
        wait = self._bucket.wait(now)
        if wait > 0:
            self._look_again(now + wait)
            return None
        room = self._adaptive.room
        if room is not None and sum(c.taken for c in self._connections.values()) >= room:
            return None
        best: Connection | None = None
        most = 0
        soonest = 0.0
        for connection in self._connections.values():
            free = connection.free
            if free <= most or free < min(parts, 2 * connection.window):
                continue
            wait = connection.bucket.wait(now)
            if wait > 0:
                soonest = min(soonest or wait, wait)
            else:
                best, most = connection, free
        if best is None and soonest:
            self._look_again(now + soonest)
        return best

    def _look_again(self, at: float) -> None:
        # The handles of uvloop do not say when they are due.
        if self._wake is not None:
            if self._wake_at <= at:
                return
            self._wake.cancel()
        self._wake_at = at
        self._wake = self._loop.call_at(at, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._pump()

    def _pump(self) -> None:
        """Give leases to those who wait, as far as room and rate go."""
        if self.order is not Order.ACTIVE:
            return
        queue = self._queue
        while len(queue):
            waiter = queue.peek()
            if waiter.ready.done():
                queue.pop()
                continue
            connection = self._place(waiter.parts)
            if connection is None:
                return
            queue.pop()
            waiter.ready.set_result(self._reserve(connection, waiter.parts))
