"""The three ports in memory, for tests of what stands in front of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from domain.message import MessageOrder
from domain.ports import EngineUnavailable, LoggedMessage, MessageQuery, Principal
from domain.tenancy import EVERYTHING
from domain.timeline import Entry, Event, Record, Status


class FakeKeys:
    """API keys by their text; a revoked one is simply not there."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys

    def authenticate(self, presented: str) -> Principal | None:
        tenant = self.keys.get(presented)
        return None if tenant is None else Principal(tenant, f"key_of_{tenant}", EVERYTHING)


@dataclass
class FakeLog:
    """Rows in a dict. `broken` makes every call fail."""

    rows: dict[str, LoggedMessage] = field(default_factory=dict)
    broken: bool = False

    async def accepted(self, message_id: str, order: MessageOrder) -> None:
        self._check()
        status = Status.PROCESSING if order.send_at is None else Status.SCHEDULED
        row = LoggedMessage(
            id=message_id,
            tenant=order.tenant,
            status=status,
            channel=None,
            created_at=order.accepted_at,
            ended_at=None,
            order=order,
            record=None,
        )
        self.rows.setdefault(message_id, row)

    async def started(self, message_id: str, order: MessageOrder) -> None:
        self._check()
        self.rows[message_id] = replace(self.rows[message_id], status=Status.PROCESSING)

    async def ended(self, message_id: str, order: MessageOrder, record: Record) -> None:
        await self.accepted(message_id, order)
        self.rows[message_id] = replace(
            self.rows[message_id],
            status=record.status,
            channel=record.channel,
            ended_at=record.ended_at,
            record=record,
        )

    async def late_receipt(self, message_id: str, entry: Entry) -> None:
        self._check()
        row = self.rows[message_id]
        if entry not in row.late:
            self.rows[message_id] = replace(row, late=(*row.late, entry))

    async def get(self, message_id: str, *, tenant: str | None = None) -> LoggedMessage | None:
        self._check()
        row = self.rows.get(message_id)
        return None if row is not None and tenant not in (None, row.tenant) else row

    async def list(self, query: MessageQuery) -> list[LoggedMessage]:
        self._check()
        rows = sorted(self.rows.values(), key=lambda row: (row.created_at, row.id), reverse=True)
        return [row for row in rows if _matches(row, query)][: query.limit]

    def _check(self) -> None:
        if self.broken:
            raise OSError("the disk is full")


def _matches(row: LoggedMessage, query: MessageQuery) -> bool:
    return (
        row.tenant == query.tenant
        and row.order.mode is query.mode
        and (not query.statuses or row.status in query.statuses)
        and query.channel in (None, row.channel)
        and (query.created_after is None or row.created_at >= query.created_after)
        and (query.created_before is None or row.created_at < query.created_before)
        and all(row.order.metadata.get(key) == value for key, value in query.metadata)
        and (query.before is None or (row.created_at, row.id) < query.before)
    )


@dataclass
class FakeEngine:
    """Holds orders by id, and begins each one at once unless `begins` is off.

    `down` makes every call fail as an unreachable Restate does; `down_after` lets that many
    starts pass first.
    """

    held: dict[str, MessageOrder] = field(default_factory=dict)
    live: dict[str, tuple[MessageOrder, Record]] = field(default_factory=dict)
    traceparents: list[str | None] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    calls: int = 0
    begins: bool = True
    down: bool = False
    down_after: int | None = None

    async def start(
        self, message_id: str, order: MessageOrder, *, traceparent: str | None, repeatable: bool
    ) -> bool:
        self.calls += 1
        if self.down_after is not None and len(self.held) >= self.down_after:
            self.down = True
        self._check()
        if repeatable and message_id in self.held:
            return False
        self.traceparents.append(traceparent)
        self.held[message_id] = order
        if self.begins:
            accepted = Entry(at=order.accepted_at, event=Event.ACCEPTED)
            self.live[message_id] = (order, Record(Status.PROCESSING, [accepted]))
        return True

    async def status(self, message_id: str) -> tuple[MessageOrder, Record] | None:
        self.calls += 1
        self._check()
        return self.live.get(message_id)

    async def cancel(self, message_id: str) -> bool:
        self.calls += 1
        self._check()
        live = self.live.get(message_id)
        if live is None or live[1].status.terminal:
            return False
        self.canceled.append(message_id)
        return True

    async def ready(self) -> bool:
        return not self.down

    def _check(self) -> None:
        if self.down:
            raise EngineUnavailable


@dataclass
class FakeClock:
    """Stands still until it is moved."""

    now: datetime = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now
