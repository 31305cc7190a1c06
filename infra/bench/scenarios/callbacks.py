"""[callbacks] What it costs to tell a tenant's endpoint, and that a dead or a slow one is nobody
else's wait.

The outbox and the pump as the endpoint process runs them, on a real database and real sockets,
without Restate: it only says when a run begins.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import uvloop

from adapters.callbacks.endpoints import EndpointStore, follow
from adapters.callbacks.events import EventStore
from adapters.callbacks.outbox import Outbox
from adapters.callbacks.pump import Pump
from adapters.callbacks.sender import CallbackSender
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from adapters.store.sections import Sections
from adapters.store.tenants import create_tenant
from adapters.wasm.store.sealing import load_key
from domain.callback import CONCURRENCY, ENDS, TRIP
from domain.message import Content, Level, MessageOrder, Step
from domain.timeline import Entry, Event, Record, Status
from infra.bench.scenario import Check, Run, Scenario, at_most, exactly

MESSAGES: Final = 3_000
_SAMPLE: Final = 20_000
_TENANT: Final = "acme"

UNASKED: Final = at_most("CPU of a message's end whose tenant has no endpoint", 5, "µs")
TOLD: Final = at_most("CPU of an event that is told", 1_000, "µs")
BESIDE: Final = at_most("time of a well endpoint beside a dead and a slow one, against alone", 2.0)
PROBED: Final = at_most("posts to a dead endpoint with all events waiting", TRIP + CONCURRENCY)
LOST: Final = exactly("lost: events neither told nor waiting", 0)


class World:
    """Three endpoints of one tenant, and what is told them."""

    def __init__(self, run: Run, port: int, dead: int) -> None:
        where = run.directory / "hermes.db"
        create_tenant(where, _TENANT)
        sealer = load_key(run.directory / "secrets.key", needed=False)
        self.sections = Sections(where)
        self.endpoints = follow(self.sections, sealer)
        self.store = EndpointStore(where, sealer)
        self.events = EventStore(where, linger=0.05)
        self.sender = CallbackSender(where, allow_private=True)
        self.outbox = Outbox(self.endpoints, lambda endpoint: None)
        self.log = SqliteMessageLog(where, Places(bytes(32)), self.outbox)
        self.pump = Pump(self.events, self.endpoints, self.sender, self._disable, budget=120)
        self.urls = {
            "well": f"http://127.0.0.1:{port}/well",
            "slow": f"http://127.0.0.1:{port}/slow",
            "dead": f"http://127.0.0.1:{dead}/dead",
        }

    async def close(self) -> None:
        """Close everything."""
        await self.sender.close()
        await self.log.close()
        await self.events.close()
        self.sections.close()

    def add(self, *names: str) -> dict[str, str]:
        """Make these endpoints; their ids."""
        made = {
            name: self.store.create(_TENANT, self.urls[name], ENDS, name, "bench")[0].id
            for name in names
        }
        self.endpoints.refresh()
        return made

    async def messages_end(self, name: str) -> None:
        """MESSAGES messages end."""
        record = _record()
        ends = (self.log.ended(f"{name}_{n}", _order(), record) for n in range(MESSAGES))
        await asyncio.gather(*ends)

    async def waiting(self, endpoint: str) -> int:
        """How many events wait for an endpoint."""
        return (await self.events.backlog(endpoint)).waiting

    async def tried(self, endpoint: str) -> int:
        """How many posts its events have had, delivered ones left out."""
        rows = await self.events.list(
            endpoint, _TENANT, state="waiting", message=None, before=None, limit=MESSAGES
        )
        return sum(row.tries for row in rows)

    async def _disable(self, endpoint: str, because: str) -> None:
        raise AssertionError(because)


def run(run: Run) -> Sequence[Check]:
    """One endpoint alone, then three at a time."""
    with _receiver() as port, socket.socket() as taken:
        # Bound and not listening: whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        return uvloop.run(_measure(run, port, taken.getsockname()[1]))


async def _measure(run: Run, port: int, dead: int) -> Sequence[Check]:
    world = World(run, port, dead)
    try:
        run.phase("a message that nobody follows")
        unasked = _unasked(world)
        run.phase("alone")
        [well] = world.add("well").values()
        await world.messages_end("alone")
        spent, began = _cpu(), time.monotonic()
        await world.pump.run(well)
        alone = time.monotonic() - began
        told = (_cpu() - spent) / MESSAGES * 1e6
        lost = await world.waiting(well)

        run.phase("beside a dead and a slow one")
        others = world.add("slow", "dead")
        await world.messages_end("beside")
        runs = [asyncio.create_task(world.pump.run(one)) for one in others.values()]
        began = time.monotonic()
        await world.pump.run(well)
        beside = time.monotonic() - began
        for one in runs:
            one.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        lost += await world.waiting(well)
        lost += MESSAGES - await world.waiting(others["dead"])
        return (
            UNASKED.check(unasked),
            TOLD.check(told),
            BESIDE.check(beside / alone),
            PROBED.check(await world.tried(others["dead"])),
            LOST.check(lost),
        )
    finally:
        await world.close()


def _unasked(world: World) -> float:
    order, record = _order(), _record()
    began = time.thread_time()
    for _ in range(_SAMPLE):
        world.outbox.ended("msg_1", order, record)
    return (time.thread_time() - began) / _SAMPLE * 1e6


def _order() -> MessageOrder:
    now = datetime.now(UTC)
    plan = (Step("sms", 60.0, Level.DELIVERED),)
    return MessageOrder(_TENANT, {"sms": "+4520123456"}, Content("Hello"), plan, now, now)


def _record() -> Record:
    now = datetime.now(UTC)
    return Record(
        Status.DELIVERED, [Entry(now, Event.ACCEPTED)], level=Level.DELIVERED, ended_at=now
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def _receiver() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.bench.receiver"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


SCENARIO: Final = Scenario(
    "callbacks",
    f"{MESSAGES:,} events for an endpoint, alone and beside a dead and a slow one",
    (UNASKED, TOLD, BESIDE, PROBED, LOST),
    run,
)
