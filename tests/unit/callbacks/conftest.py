"""Endpoints and their events in a real database, before receivers that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.callbacks.endpoints import Directory, EndpointStore, follow
from adapters.callbacks.events import EventStore
from adapters.callbacks.outbox import Outbox
from adapters.callbacks.pump import Pump
from adapters.callbacks.sender import CallbackForbidden, CallbackRefused
from adapters.store.sections import Section, Sections
from adapters.store.tenants import create_tenant
from adapters.wasm.store.sealing import Sealer
from domain.callback import ENDS, Endpoint, EventType
from domain.message import Content, MessageOrder, Step
from domain.message import Level as L
from domain.timeline import Entry, Event, Record, Status

TENANT = "acme"
AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """The pump's; it stands still until it is moved. Events are stored by the real one."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return datetime.now(UTC).timestamp() + self.ahead


@dataclass
class Receivers:
    """All endpoints of all tenants: by URL, what each answers. `held` ones answer later."""

    failing: dict[str, Exception] = field(default_factory=dict)
    refused_events: dict[str, Exception] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    posts: list[tuple[str, str]] = field(default_factory=list)
    signed_with: list[tuple[str, ...]] = field(default_factory=list)
    at_once: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    async def send(
        self, url: str, secrets: tuple[str, ...], webhook_id: str, body: bytes, *, tenant: str = ""
    ) -> int:
        self.at_once[url] = self.at_once.get(url, 0) + 1
        self.most[url] = max(self.most.get(url, 0), self.at_once[url])
        try:
            self.posts.append((url, webhook_id))
            self.signed_with.append(secrets)
            if url in self.held:
                await self.held[url].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.at_once[url] -= 1
        error = self.failing.get(url) or self.refused_events.get(webhook_id)
        if error is not None:
            raise error
        return 200

    async def secret_of(self, tenant: str) -> str:
        if tenant != TENANT:
            raise CallbackForbidden("the tenant is not known")
        return "whsec_of_the_tenant"

    def got(self, url: str) -> list[str]:
        """Ids of the events posted to a URL, in order."""
        return [name for to, name in self.posts if to == url]


REFUSED = CallbackRefused("HTTP 500", status=500)
GONE = CallbackRefused("HTTP 410", status=410)


@dataclass
class Post:
    """Everything that tells events, without Restate."""

    where: Path | str
    sections: Sections
    endpoints: Section[Directory]
    store: EndpointStore
    events: EventStore
    outbox: Outbox
    pump: Pump
    receivers: Receivers
    clock: Clock
    woken: list[str]

    def endpoint(
        self, name: str = "one", events: frozenset[EventType] = ENDS, tenant: str = TENANT
    ) -> Endpoint:
        """A new endpoint at https://NAME.example."""
        made, _ = self.store.create(tenant, f"https://{name}.example", events, "", "key:test")
        self.endpoints.refresh()
        return made

    async def end(self, message: str, order: MessageOrder | None = None, **facts: object) -> None:
        """A message ends: what its tenant is told is stored."""
        order = order or an_order()
        record = Record(
            Status.DELIVERED,
            [Entry(AT, Event.ACCEPTED), Entry(AT, Event.SUBMITTED), Entry(AT, Event.ENDED)],
            ended_at=AT,
            level=L.DELIVERED,
        )
        await self.store_all(self.outbox.ended(message, order, record))

    async def end_many(self, count: int) -> None:
        """msg_0 and so on end, in that order."""
        await asyncio.gather(*(self.end(f"msg_{number}") for number in range(count)))

    async def store_all(self, rows: list) -> None:
        for row in rows:
            await self.events.add(row)
        self.outbox.stored(rows)

    async def states(self, endpoint: str) -> dict[str, str]:
        """Where each event of an endpoint stands."""
        rows = await self.events.list(
            endpoint, TENANT, state=None, message=None, before=None, limit=1000
        )
        return {row.id: row.telling.state.value for row in reversed(rows)}


def an_order(**facts: object) -> MessageOrder:
    return MessageOrder(
        TENANT,
        {"sms": "+4520123456"},
        Content("Hi"),
        (Step("sms", 60, L.DELIVERED),),
        AT,
        AT,
        **facts,
    )


@pytest.fixture
async def post(where: Path | str, tmp_path: Path) -> AsyncIterator[Post]:
    create_tenant(where, TENANT)
    sealer = Sealer(b"k" * 32, tmp_path / "secrets.key")
    sections = Sections(where)
    endpoints = follow(sections, sealer)
    store = EndpointStore(where, sealer)
    events = EventStore(where)
    receivers, clock, woken = Receivers(), Clock(), []

    async def disable(endpoint: str, because: str) -> None:
        await asyncio.to_thread(store.disable, endpoint, because)

    pump = Pump(events, endpoints, receivers, disable, clock=clock)
    yield Post(
        where,
        sections,
        endpoints,
        store,
        events,
        Outbox(endpoints, woken.append),
        pump,
        receivers,
        clock,
        woken,
    )
    for event in receivers.held.values():
        event.set()
    with contextlib.suppress(Exception):
        await events.close()
    sections.close()
