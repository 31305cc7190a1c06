"""The message log: what a tenant lists and reads, beside Restate, which owns what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapters.billing.ledger import Ledger, movements_of
from adapters.callbacks.events import of_message
from adapters.callbacks.outbox import Outbox
from adapters.store.database import Database
from adapters.store.group_commit import GroupCommit
from adapters.store.message_listing import MessageListing
from adapters.store.recipients import Places
from adapters.store.schema import open_store
from domain.billing import settlement
from domain.billing.settlement import Settled
from domain.callback import Telling
from domain.message import NO_CONTENT, MessageOrder
from domain.ports import LoggedMessage, MessageQuery
from domain.timeline import Entry, Record, Status

_encode = msgspec.json.Encoder().encode
_decode_order = msgspec.json.Decoder(MessageOrder).decode
_decode_record = msgspec.json.Decoder(Record).decode
_decode_entry = msgspec.json.Decoder(Entry).decode

_INSERT = """
    INSERT INTO messages (id, tenant, mode, recipient, status, channel, created_at, order_json)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_START = "UPDATE messages SET status = ? WHERE id = ? AND record_json IS NULL"
_END = """
    INSERT INTO messages (
        id, tenant, mode, recipient, status, channel, created_at, ended_at, order_json, record_json)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status, channel = excluded.channel,
        ended_at = excluded.ended_at, record_json = excluded.record_json
    WHERE messages.redacted_at IS NULL AND messages.record_json IS NULL
"""
# Not for a message that was redacted meanwhile: an end may be written again long after the first
# time, and nobody would take out what that brings back.
_METADATA = """
    INSERT INTO message_metadata (tenant, key, value, message)
    SELECT column1, column2, column3, column4 FROM (VALUES (?, ?, ?, ?)) AS new
    WHERE NOT EXISTS (
        SELECT 1 FROM messages WHERE id = new.column4 AND redacted_at IS NOT NULL
    ) ON CONFLICT DO NOTHING
"""
_RECIPIENT = """
    INSERT INTO message_recipients (address, message)
    SELECT column1, column2 FROM (VALUES (CAST(? AS INTEGER), CAST(? AS TEXT))) AS new
    WHERE NOT EXISTS (
        SELECT 1 FROM messages WHERE id = new.column2 AND redacted_at IS NOT NULL
    ) ON CONFLICT DO NOTHING
"""
_LATE = """
    INSERT INTO late_receipts (message, receipt, entry_json)
    SELECT id, ?, ? FROM messages WHERE id = ? AND redacted_at IS NULL ON CONFLICT DO NOTHING
"""
_COLUMNS = "id, tenant, status, channel, created_at, ended_at, order_json, record_json"
_GET = f"SELECT {_COLUMNS} FROM messages WHERE id = ?"
_GET_OF_TENANT = f"{_GET} AND tenant = ?"


class SqliteMessageLog:
    """The log in one SQLite file or PostgreSQL database that several processes share.

    Content is not kept: it may hold one-time passwords, and nothing here needs it. What a message
    cost is settled in the commit of its end, or of the receipt that came later. `places` says
    where whoever is forgotten is found; `outbox` makes what the tenants' endpoints are told, in
    the commit of what it tells of. A write waits up to `linger` seconds for company.
    """

    def __init__(
        self,
        where: Path | str,
        places: Places,
        outbox: Outbox | None = None,
        ledger: Ledger | None = None,
        *,
        linger: float = 0.010,
    ) -> None:
        beside = (ledger or Ledger()).enter
        self._writer = GroupCommit(open_store(where, "hermes"), linger=linger, beside=beside)
        self._listing = MessageListing(where, _COLUMNS)
        self._outbox = outbox
        self._places = places

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()
        await self._listing.close()

    async def accepted(self, message_id: str, order: MessageOrder) -> None:
        """Add a message that Restate has taken; a row that is there already is left alone."""
        status = Status.SCHEDULED if order.send_at is not None else Status.PROCESSING
        channel = order.plan[0].channel
        created_at = order.accepted_at.timestamp()
        first, *others = self._places.of_message(order)
        row = (
            message_id,
            order.tenant,
            order.mode.value,
            first,
            status.value,
            channel,
            created_at,
            _order_json(order),
        )
        await self._write_all((_INSERT, row), *_found_by(message_id, order, others))

    async def started(self, message_id: str, order: MessageOrder) -> None:
        """Turn a scheduled message's row to processing."""
        await self._writer.write(_START, (Status.PROCESSING.value, message_id))

    async def progressed(
        self, message_id: str, order: MessageOrder, entries: Sequence[tuple[int, Entry]]
    ) -> None:
        """Tell the tenant's endpoints of lines of the timeline that they follow; each once."""
        if self._outbox is None:
            return
        told = self._outbox.progress(message_id, order, entries)
        await self._write_all(*told)
        self._outbox.stored(told)

    async def ended(self, message_id: str, order: MessageOrder, record: Record) -> None:
        """Write the final record, whether or not the row is there; repeating it is harmless. The
        first end stays: a process that was stopped for long may bring another one afterwards."""
        assert record.ended_at is not None
        first, *others = self._places.of_message(order)
        row = (
            message_id,
            order.tenant,
            order.mode.value,
            first,
            record.status.value,
            record.channel,
            order.accepted_at.timestamp(),
            record.ended_at.timestamp(),
            _order_json(order),
            _encode(record),
        )
        told = [] if self._outbox is None else self._outbox.ended(message_id, order, record)
        self._writer.also(settlement.ended(message_id, order.tenant, record))
        await self._write_all((_END, row), *_found_by(message_id, order, others), *told)
        if self._outbox is not None:
            self._outbox.stored(told)

    async def late_receipt(self, message_id: str, entry: Entry) -> None:
        """Add a receipt that came after the end; the same report is added once, and only to a
        message that is known."""
        identity = entry.receipt_id or f"{entry.attempt}/{entry.at.isoformat()}"
        if entry.attempt is not None:
            self._writer.also([settlement.Proof(message_id, entry.attempt, entry.level)])
        await self._writer.write(_LATE, (identity, _encode(entry), message_id))
        if self._outbox is None:
            return
        known = await self.get(message_id)
        if known is not None:
            told = self._outbox.late(message_id, known.order, known.status, entry)
            await self._write_all(*told)
            self._outbox.stored(told)

    async def get(self, message_id: str, *, tenant: str | None = None) -> LoggedMessage | None:
        """The message's row with its late receipts, oldest first; only if it is this `tenant`'s.
        Another's takes the same one statement as an id that does not exist."""

        def query(database: Database) -> LoggedMessage | None:
            if tenant is None:
                found = database.execute(_GET, (message_id,))
            else:
                found = database.execute(_GET_OF_TENANT, (message_id, tenant))
            row = found.fetchone()
            if row is None:
                return None
            stored = database.execute(
                "SELECT entry_json FROM late_receipts WHERE message = ?", (message_id,)
            )
            late = [_decode_entry(entry) for (entry,) in stored]
            in_order = tuple(sorted(late, key=lambda entry: entry.at))
            told = tuple(of_message(database, message_id))
            return _from_row(row, in_order, told, tuple(movements_of(database, message_id)))

        return await self._writer.read(query)

    async def list(self, query: MessageQuery) -> list[LoggedMessage]:
        """A tenant's newest messages first. Late receipts are left to `get`."""
        rows = await self._listing.page(query)
        return [_from_row(row, ()) for row in rows]

    async def _write_all(self, *statements: tuple[str, Sequence[object]]) -> None:
        # Queued in one go, so that one commit has them all.
        await asyncio.gather(*(self._writer.write(*statement) for statement in statements))


def _found_by(
    message_id: str, order: MessageOrder, others: Iterable[int]
) -> list[tuple[str, Sequence[object]]]:
    """The statements by which a message is found: by its metadata, and by the recipient's `others`
    than the first address when that person is to be forgotten. Most messages have neither."""
    metadata = order.metadata.items()
    return [
        *((_METADATA, (order.tenant, key, value, message_id)) for key, value in metadata),
        *((_RECIPIENT, (place, message_id)) for place in others),
    ]


def _order_json(order: MessageOrder) -> bytes:
    return _encode(msgspec.structs.replace(order, content=NO_CONTENT))


def _from_row(
    row: tuple[object, ...],
    late: tuple[Entry, ...],
    callbacks: tuple[Telling, ...] = (),
    bill: tuple[Settled, ...] = (),
) -> LoggedMessage:
    id_, tenant, status, channel, created_at, ended_at, order_json, record_json = row
    return LoggedMessage(
        id=str(id_),
        tenant=str(tenant),
        status=Status(status),
        channel=None if channel is None else str(channel),
        created_at=_time(created_at),
        ended_at=None if ended_at is None else _time(ended_at),
        order=_decode_order(order_json),  # type: ignore[arg-type]
        record=None if record_json is None else _decode_record(record_json),  # type: ignore[arg-type]
        late=late,
        callbacks=callbacks,
        bill=bill,
    )


def _time(epoch: object) -> datetime:
    assert isinstance(epoch, float)
    return datetime.fromtimestamp(epoch, UTC)
