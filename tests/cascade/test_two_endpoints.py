"""Two endpoint processes on one database, and a connection that breaks between Restate and the one
that is trying: Restate asks the other, and the first goes on, without anybody to tell."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import restate

from adapters.restate.ingress import RestateIngress
from adapters.restate.optimistic import optimistic
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure
from domain.message import Level, MessageOrder
from domain.timeline import Event, Status
from handlers.delivery.direct import Direct
from handlers.delivery.email import create_email_delivery
from tests.cascade.world import email, entries, order
from tests.restate_server import AsgiApp, running_restate, served
from tests.waiting import eventually
from virtual_objects.message import create_message_object

MESSAGE = "msg_01KAQAGF95EDC9W2ET8V72YBN3"
HOST = "127.0.0.1"


class Relay:
    """Takes a mail once it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.mails: list[int] = []
        self.taken: list[int] = []

    def turn(self) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    async def deliver(self, request: DeliveryRequest) -> Submission:
        self.mails.append(request.attempt)
        await eventually(self.told.is_set, within=60)
        self.taken.append(request.attempt)
        return Submission(SubmissionState.TAKEN, at=datetime.now(UTC), level=Level.SENT)


class NobodyBarred:
    async def refusal(self, order: MessageOrder, channel: str) -> Failure | None:
        return None


class CountedLog(SqliteMessageLog):
    """A log that tells whose ends were written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Places(bytes(32)))
        self.ends = 0

    async def ended(self, *end) -> None:
        self.ends += 1
        await super().ended(*end)


class Process:
    """An endpoint, as far as one thread can be a process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.relay = Relay()
        self.log = CountedLog(database)

    def application(self) -> AbstractAsyncContextManager[AsgiApp]:
        @asynccontextmanager
        async def made() -> AsyncIterator[AsgiApp]:
            attempts = SqliteAttemptJournal(self._database)
            mail = create_email_delivery(self.relay, attempts)  # type: ignore[arg-type]
            message = create_message_object(
                self.log, NobodyBarred(), Direct([mail]), journal_retention=timedelta(hours=1)
            )
            yield optimistic(restate.app([message, mail]), message, "send", ())
            self.relay.told.set()

        return made()


class Way:
    """Carries connections to one process, until they are cut and the next go to another."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._open: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def carrying(self) -> AsyncIterator[str]:
        """Yields the address at which it does."""
        async with await asyncio.start_server(self._carry, HOST, 0) as server:
            yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
            self._cut()

    def turn_to(self, target: str) -> None:
        self._target = target
        self._cut()

    def _cut(self) -> None:
        for each in self._open:
            each.transport.abort()
        self._open = []

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, int(self._target.rpartition(":")[2]))
        self._open += [writer, back]
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()
    writer.close()


async def test_who_lost_its_caller_does_not_end_the_message(tmp_path: Path):
    """Otherwise its end would stand, without the mail that the other one sends again."""
    database = tmp_path / "hermes.db"
    first, second = Process(database), Process(database)
    sent = order(email(300), ttl=600)
    with (
        served(first.application) as one,
        served(second.application) as other,
        running_restate(tmp_path, inactivity_timeout="5s") as server,
    ):
        way = Way(one)
        async with way.carrying() as address:
            await asyncio.to_thread(server.register, address)
            engine = RestateIngress(server.ingress, direct=True)
            await engine.start(MESSAGE, sent, traceparent=None, repeatable=False)
            await eventually(lambda: first.relay.mails)
            way.turn_to(other)
            # It waits for a proof of the first mail, then sends it again.
            await eventually(lambda: second.relay.mails, within=20)
            first.relay.told.set()
            await eventually(lambda: first.relay.taken)
            second.relay.told.set()
            await eventually(lambda: second.log.ends, within=20)
            listed = await eventually(lambda: _ended(second.log))
            await engine.close()
    await first.log.close()
    await second.log.close()
    assert (first.relay.mails, second.relay.mails) == ([1], [2])
    assert (first.log.ends, listed.status) == (0, Status.SENT)
    (submitted,) = entries(listed.record, Event.SUBMITTED)
    assert (submitted.attempt, submitted.possible_duplicate) == (2, True)


async def _ended(log: SqliteMessageLog):
    listed = await log.get(MESSAGE)
    return listed if listed is not None and listed.record is not None else None
