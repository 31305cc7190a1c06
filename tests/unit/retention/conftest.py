"""A message log with messages that name a person wherever they can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.retention.erasure import Erasures
from adapters.retention.sweeper import EVERY, Sweeper
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.database import Database, is_postgres
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from adapters.store.schema import open_store
from domain.delivery import Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Content, Level, MessageOrder, Step
from domain.retention import Retention
from domain.timeline import Entry, Event, Record, Status

PHONE = "+4520123456"
MAIL = "anna.person@example.com"
PERSON = (PHONE, PHONE.lstrip("+"), MAIL, "Anna Person", "wamid.HBgLNDUyMDEyMzQ1NhUCABE")
"""What must be nowhere once she is forgotten."""
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECRET = bytes(range(32))


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = NOW.timestamp()

    def __call__(self) -> float:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time).total_seconds()


@dataclass
class World:
    """The stores of one database, and what forgets in it."""

    where: Path | str
    journal: Path | str
    log: SqliteMessageLog
    attempts: SqliteAttemptJournal
    clock: Clock
    retention: dict[str, Retention] = field(default_factory=dict)
    count: int = 0

    def erasures(self) -> Erasures:
        return Erasures(self.where, self.journal, SECRET, clock=self.clock)

    def sweeper(self, every: float = EVERY) -> Sweeper:
        def retention(tenant: str) -> Retention:
            return self.retention.get(tenant, Retention())

        return Sweeper(
            self.where, self.journal, retention, self.erasures(), clock=self.clock, every=every
        )

    def order(self, tenant: str = "acme", *, days_ago: float = 0, **facts: Any) -> MessageOrder:
        at = datetime.fromtimestamp(self.clock.now, UTC) - timedelta(days=days_ago)
        order = MessageOrder(
            tenant=tenant,
            to={"sms": PHONE, "email": MAIL},
            content=Content("Hello Anna Person"),
            plan=(Step("sms", 30.0, Level.DELIVERED, sender="Acme"),),
            accepted_at=at,
            expires_at=at + timedelta(hours=1),
            metadata={"customer": "Anna Person"},
            status_callback=f"https://acme.example/told?who={MAIL}",
            fingerprint="f" * 64,
        )
        return msgspec.structs.replace(order, **facts)

    async def accepted(self, order: MessageOrder) -> str:
        self.count += 1
        message = f"msg_{self.count:04}"
        await self.log.accepted(message, order)
        return message

    async def ended(self, order: MessageOrder, message: str | None = None) -> str:
        """A message with a story that names the person in every line."""
        message = message or await self.accepted(order)
        await self.log.ended(message, order, a_record(order.accepted_at))
        late = Entry(
            order.accepted_at + timedelta(hours=1),
            Event.RECEIPT,
            attempt=1,
            provider="whatsapp",
            level=Level.READ,
            receipt_id=f"whatsapp/{PERSON[-1]}/read",
            late=True,
        )
        await self.log.late_receipt(message, late)
        await self.attempts.begin(message, 1)
        answer = Submission(SubmissionState.TAKEN, NOW, provider_ids=(PERSON[-1],))
        await self.attempts.settle(message, 1, answer)
        self.tell(message, order)
        self.submit(message)
        return message

    def tell(self, message: str, order: MessageOrder) -> None:
        """The event that the tenant was told."""
        body = {"type": "message.failed", "data": {"id": message, "metadata": order.metadata}}
        with self.database() as database:
            database.execute(
                "INSERT INTO callback_events"
                " (endpoint, id, tenant, message, type, url, body, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *("cbe_1", f"{message}.ended", order.tenant, message, "message.failed"),
                    *(order.status_callback, msgspec.json.encode(body), self.clock.now),
                ),
            )

    def submit(self, message: str) -> None:
        """What the bind pool wrote down about it."""
        with closing(open_store(self.journal, "smpp")) as database:
            database.execute(
                "INSERT INTO parts (message, attempt, part, parts, carrier, destination, reference,"
                " receipt_ref, begun_at, state, smsc_id)"
                " VALUES (?, 1, 1, 1, 'telia', ?, 1, 'ref', ?, 'accepted', ?)",
                (message, PHONE.lstrip("+"), self.clock.now, f"smsc-{message}"),
            )
            database.execute(
                "INSERT INTO receipts (carrier, smsc_id, state, stat, final, destination,"
                " received_at) VALUES ('telia', ?, 2, 'DELIVRD', 1, ?, ?)",
                (f"smsc-{message}", PHONE.lstrip("+"), self.clock.now),
            )

    def database(self) -> closing[Database]:
        return closing(open_store(self.where, "hermes"))

    def everything(self) -> str:
        """All that both databases hold, as one text."""
        found = []
        for where, schema in ((self.where, "hermes"), (self.journal, "smpp")):
            with closing(open_store(where, schema)) as database:
                for table in tables(database, where):
                    rows = database.execute(f"SELECT * FROM {table}").fetchall()
                    found += [f"{table}: {[readable(value) for value in row]}" for row in rows]
        return "\n".join(found)


def readable(value: object) -> object:
    return bytes(value).decode(errors="replace") if isinstance(value, bytes) else value


def tables(database: Database, where: Path | str) -> Iterator[str]:
    names = (
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        if is_postgres(where)
        else "SELECT name FROM sqlite_master WHERE type = 'table'"
    )
    yield from (row[0] for row in database.execute(names).fetchall())


def a_record(at: datetime) -> Record:
    """A failure that quotes the address wherever a provider may."""
    failure = Failure(
        FailureCode.RECIPIENT_INVALID,
        provider_code=f"550 5.1.1 <{MAIL}>: no such user",
        detail=f"{PHONE} is not known",
    )
    end = at + timedelta(minutes=1)
    timeline = [
        Entry(at, Event.ACCEPTED),
        Entry(at, Event.STEP, step=1, channel="sms"),
        Entry(
            at,
            Event.SUBMITTED,
            step=1,
            channel="sms",
            attempt=1,
            provider="telia",
            provider_ids=(PERSON[-1],),
            segments=2,
        ),
        Entry(
            at,
            Event.RECEIPT,
            attempt=1,
            receipt_id=f"telia/{PERSON[-1]}",
            provider_status="UNDELIV err:001",
            failure=failure,
        ),
        Entry(end, Event.ENDED, status=Status.FAILED),
    ]
    return Record(Status.FAILED, timeline, channel="sms", failure=failure, ended_at=end)


@pytest.fixture
async def world(where: Path | str, tmp_path: Path, request: Any) -> AsyncIterator[World]:
    # On PostgreSQL, one database may hold both.
    journal = where if is_postgres(where) else tmp_path / "smpp.db"
    with closing(open_store(journal, "smpp")):
        pass
    log, attempts = SqliteMessageLog(where, Places(SECRET)), SqliteAttemptJournal(where)
    yield World(where, journal, log, attempts, Clock())
    await log.close()
    await attempts.close()


@pytest.fixture
def names() -> Callable[[World], set[str]]:
    """Which of the person's names are still somewhere."""
    return lambda world: {name for name in PERSON if name in world.everything()}
