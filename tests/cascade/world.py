"""The Message object on a real restate-server, between a sender and scripted channels."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import restate
from restate.serde import BytesSerde

from adapters.callbacks.endpoints import Directory, EndpointStore, follow
from adapters.callbacks.events import EventStore
from adapters.callbacks.outbox import Outbox
from adapters.callbacks.pump import Pump
from adapters.callbacks.sender import CallbackSender
from adapters.callbacks.waker import Waker
from adapters.restate.ingress import RestateIngress
from adapters.restate.optimistic import optimistic
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from adapters.store.sections import Section, Sections
from adapters.store.tenants import create_tenant
from adapters.suppression.hashing import Hasher
from adapters.suppression.second_look import StoredSecondLook
from adapters.suppression.store import SuppressionStore
from adapters.wasm.store.sealing import Sealer, load_key
from domain.channels import CHANNELS
from domain.delivery import Receipt
from domain.failures import Failure, FailureCode
from domain.ids import RANDOMNESS, fresh_id
from domain.message import Content, DeliveryPolicy, Level, MessageOrder, Step
from domain.ports import SecondLook
from domain.timeline import Entry, Event, Record
from handlers.callbacks import create_callback_endpoint, create_status_callback
from handlers.delivery.direct import Direct
from handlers.delivery.sandbox import create_sandbox_delivery
from tests.cascade.channels import Behaviour, Call, ScriptedChannels
from tests.cascade.invariants import check_story
from tests.restate_server import AsgiApp, Restate
from tests.waiting import eventually
from virtual_objects.message import create_message_object

RETENTION = timedelta(seconds=3)
"""How long the state of an ended message is kept here: longer than a scenario looks at it."""
TENANT = "acme"
_DEFAULT_SUCCESS = {name: rules.default_success for name, rules in CHANNELS.items()}


@dataclass
class BlockedEndings:
    """Messages whose ending the log refuses at the moment, and those that it has refused."""

    blocked: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


class BlockableLog(SqliteMessageLog):
    """A log whose disk is full for some messages."""

    def __init__(self, path: Path, endings: BlockedEndings, outbox: Outbox) -> None:
        super().__init__(path, Places(bytes(32)), outbox)
        self._endings = endings

    async def ended(self, message_id: str, order: MessageOrder, record: Record) -> None:
        if message_id in self._endings.blocked:
            self._endings.refused.add(message_id)
            raise OSError("the disk is full")
        await super().ended(message_id, order, record)


class Looks:
    """The second looks at a real database, that tells who asked, and may be away for some."""

    def __init__(self) -> None:
        self.real: SecondLook | None = None
        self.asked: dict[str, list[str]] = defaultdict(list)
        """The channels asked about, by the order's `label`."""
        self.away: dict[str, int] = {}
        """How often the database is still away for an order."""

    async def refusal(self, order: MessageOrder, channel: str) -> Failure | None:
        named = label(order)
        self.asked[named].append(channel)
        if self.away.get(named):
            self.away[named] -= 1
            raise OSError("the database is away")
        assert self.real is not None
        return await self.real.refusal(order, channel)


def label(order: MessageOrder) -> str:
    """What tells an order from the others: when it was accepted, to the microsecond."""
    return order.accepted_at.isoformat()


HASHER = Hasher(bytes(range(32)))


@dataclass
class Backstage:
    """What the handlers write to and talk to; made once for a server."""

    database: Path
    channels: ScriptedChannels = field(default_factory=ScriptedChannels)
    endings: BlockedEndings = field(default_factory=BlockedEndings)
    looks: Looks = field(default_factory=Looks)
    ingress: str = ""
    """Restate's; known once it runs."""
    endpoints: Section[Directory] | None = None

    def knows(self, endpoint: str) -> bool:
        """Whether the handlers know of a callback endpoint."""
        return self.endpoints is not None and self.endpoints.value.get(endpoint) is not None

    @property
    def sealer(self) -> Sealer:
        """What the endpoints' secrets are sealed with."""
        return load_key(self.database.with_name("secrets.key"), needed=False)

    @asynccontextmanager
    async def application(self) -> AsyncIterator[AsgiApp]:
        """The endpoint's application."""
        create_tenant(self.database, TENANT)
        sections = Sections(self.database)
        endpoints = self.endpoints = follow(sections, self.sealer)
        callbacks = CallbackSender(self.database, allow_private=True)
        events = EventStore(self.database)
        store = EndpointStore(self.database, self.sealer)

        async def disable(endpoint: str, because: str) -> None:
            await asyncio.to_thread(store.disable, endpoint, because)

        async def wake(endpoint: str) -> None:
            ingress = RestateIngress(self.ingress)
            await ingress.wake_callbacks(endpoint)
            await ingress.close()

        pump = Pump(events, endpoints, callbacks, disable)
        log = BlockableLog(
            self.database, self.endings, Outbox(endpoints, Waker(wake, pump.look_again))
        )
        look = self.looks.real = StoredSecondLook(self.database, HASHER)
        try:
            services = self.channels.services()
            direct = Direct(services)
            message = create_message_object(log, self.looks, direct, journal_retention=RETENTION)
            app = restate.app(
                [
                    message,
                    create_callback_endpoint(pump),
                    create_status_callback(events),
                    older_messages(),
                    create_sandbox_delivery(),
                    *services,
                ]
            )
            yield optimistic(app, message, "send", ())
        finally:
            await callbacks.close()
            await look.close()
            await log.close()
            await events.close()
            sections.close()


def older_messages() -> restate.Service:
    """Stands for messages that began before there were endpoints: they hand their callback over at
    their end, as they did."""
    older = restate.Service("OlderMessages")

    @older.handler(input_serde=BytesSerde())
    async def end(ctx: restate.Context, callback: bytes) -> None:
        ctx.generic_send("StatusCallback", "deliver", callback)

    return older


def sms(timeout: float = 20.0, **facts: Any) -> Step:
    """An SMS step that wants a receipt, unless it says otherwise."""
    return _step("sms", timeout, facts)


def email(timeout: float = 20.0, **facts: Any) -> Step:
    """An e-mail step that is content with the relay's acceptance, unless it says otherwise."""
    return _step("email", timeout, facts)


def push(timeout: float = 20.0, **facts: Any) -> Step:
    """A push step that is content with the provider's acceptance, unless it says otherwise."""
    return _step("push", timeout, facts)


def _step(channel: str, timeout: float, facts: dict[str, Any]) -> Step:
    return Step(channel, timeout, **{"success": _DEFAULT_SUCCESS[channel], **facts})


def order(
    *plan: Step,
    ttl: float = 60.0,
    starts_in: float | None = None,
    policy: DeliveryPolicy = DeliveryPolicy.AT_LEAST_ONCE,
    **facts: Any,
) -> MessageOrder:
    """An order as the API would give it, with a TTL as short as a test needs."""
    now = datetime.now(UTC)
    return MessageOrder(
        tenant=TENANT,
        to={
            "sms": "+4520123456",
            "email": "someone@example.com",
            "push": "a-registration-token",
            "whatsapp": "+4520123456",
        },
        content=Content("Your code is 4711"),
        plan=plan,
        accepted_at=now,
        expires_at=now + timedelta(seconds=ttl),
        send_at=None if starts_in is None else now + timedelta(seconds=starts_in),
        policy=policy,
        **facts,
    )


def receipt(
    said: Level | FailureCode, attempt: int = 1, *, name: str | None = None, final: bool = True
) -> Receipt:
    """A provider's report on an attempt; its id is `name`, by default what it says."""
    level = said if isinstance(said, Level) else None
    failure = Failure(said) if isinstance(said, FailureCode) else None
    return Receipt(
        attempt=attempt,
        at=datetime.now(UTC),
        level=level,
        failure=failure,
        provider="scripted",
        provider_status=said.value,
        id=name or f"{attempt}-{said.value}",
        final=final,
    )


def events(record: Record) -> list[Event]:
    """The kinds of the timeline's lines, in their order."""
    return [entry.event for entry in record.timeline]


def entries(record: Record, event: Event) -> list[Entry]:
    """The timeline's lines of one kind."""
    return [entry for entry in record.timeline if entry.event is event]


@dataclass
class Cascade:
    """What a scenario does and sees."""

    restate: Restate
    channels: ScriptedChannels
    endings: BlockedEndings
    looks: Looks
    lists: SuppressionStore
    log: SqliteMessageLog
    engine: RestateIngress
    http: httpx.AsyncClient
    direct: bool
    """Whether attempts may go to their channels directly."""
    orders: dict[str, MessageOrder] = field(default_factory=dict)

    async def send(self, order: MessageOrder, *script: Behaviour) -> str:
        """Send a message that will meet this script, by the trusted door; returns its id."""
        message = fresh_id(order.accepted_at, os.urandom(RANDOMNESS))
        self.channels.scripts[message] = list(script)
        self.orders[message] = order
        await self.engine.start(message, order, traceparent=None, repeatable=False)
        return message

    async def post(self, verb: str, message: str, handler: str, body: Any) -> httpx.Response:
        """Use the trusted door as curl would; `verb` is call or send."""
        url = f"{self.restate.ingress}/restate/{verb}/Message/{quote(message)}/{handler}"
        return await self.http.post(url, content=msgspec.json.encode(body), headers=_JSON)

    async def called(self, message: str, times: int = 1, within: float = 10.0) -> list[Call]:
        """Wait until the channels were called so often for a message; returns the calls."""
        await eventually(lambda: len(self.channels.calls[message]) >= times, within)
        return self.channels.calls[message]

    async def until(self, message: str, holds: Callable[[Record], object]) -> Record:
        """Wait until a message fulfils something, while it is under way or at its end."""

        async def look() -> Record | None:
            found = await self.engine.status(message)
            record = found[1] if found is not None else None
            if record is None and (row := await self.log.get(message)) is not None:
                record = row.record
            return record if record is not None and holds(record) else None

        record = await eventually(look, pause=0.02)
        assert record is not None
        return record

    async def held(self, message: str) -> None:
        """Wait until Restate shows a message: while a channel is asked directly, it does not."""
        await eventually(lambda: self.engine.status(message))

    async def submitted(self, message: str, attempt: int = 1) -> Record:
        """Wait until the timeline shows that a provider took an attempt."""
        return await self.until(
            message,
            lambda r: any(e.attempt == attempt for e in entries(r, Event.SUBMITTED)),
        )

    async def resolve(self, message: str, report: Receipt) -> None:
        """Bring a receipt as a bind pool does, to the awakeable that it was told."""
        calls = await self.called(message)
        ref = next(c.request.receipt_ref for c in calls if c.request.attempt == report.attempt)
        await self.engine.resolve(ref, report)

    async def ended(self, message: str, within: float = 15.0) -> Record:
        """Wait for a message's end, check what is true of all of them, and return its record."""

        async def logged() -> Any:
            row = await self.log.get(message)
            return row is not None and row.record is not None and row

        async def forgotten() -> bool:
            return await self.engine.status(message) is None

        row = await eventually(logged, within=within, pause=0.01)
        await eventually(forgotten, pause=0.01)
        check_story(self.orders[message], row, self.channels.calls[message])
        record: Record = row.record
        return record

    def journal(self, message: str) -> list[str]:
        """The commands in the journal of a message that has ended."""
        rows = self.restate.query(
            "SELECT j.entry_type, j.name FROM sys_journal j JOIN sys_invocation i ON i.id = j.id"
            f" WHERE i.target_service_key = '{message}' AND i.target_handler_name = 'send'"
            " ORDER BY j.index"
        )
        commands = [row for row in rows if row["entry_type"].startswith("Command: ")]
        return [row.get("name") or row["entry_type"].removeprefix("Command: ") for row in commands]

    async def late(self, message: str) -> Sequence[Entry]:
        """Wait until the log has a late receipt; returns all of them."""

        async def logged() -> Sequence[Entry]:
            row = await self.log.get(message)
            return row.late if row is not None else ()

        return await eventually(logged, pause=0.01)


_JSON = {"content-type": "application/json"}
