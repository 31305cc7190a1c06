"""Takes what names people out of messages that have ended, wherever the database has it.

A batch takes a few statements, not a few for each message: what they cost is mostly their way to
the database.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from adapters.store.bulk import LARGEST, combined
from adapters.store.database import Database
from adapters.store.recipients import Places, unkeyed_places
from domain.message import MessageOrder
from domain.retention import redacted_entry, redacted_order, redacted_record
from domain.timeline import Entry, Record

BATCH: Final = LARGEST
"""Messages in one transaction, which others wait for: some 10 ms of work and a commit."""

_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(MessageOrder).decode
_record = msgspec.json.Decoder(Record).decode
_entry = msgspec.json.Decoder(Entry).decode
_json = msgspec.json.Decoder().decode

# What has VALUES takes as many rows of them as there are: see `_each`.
_READ: Final = "SELECT id, order_json, record_json FROM messages WHERE id IN (VALUES (?))"
_WRITE: Final = """
    UPDATE messages SET
        order_json = new.column2, record_json = new.column3, recipient = NULL,
        redacted_at = coalesce(redacted_at, new.column4)
    FROM (VALUES (CAST(? AS TEXT), CAST(? AS BLOB), CAST(? AS BLOB), CAST(? AS REAL))) AS new
    WHERE id = new.column1
"""
# Of a list of (number, text), SQLite would only look up the number.
_RECIPIENTS: Final = 32
_FORGET_RECIPIENTS: Final = "DELETE FROM message_recipients WHERE " + " OR ".join(
    ["(address = ? AND message = ?)"] * _RECIPIENTS
)
# Of a bare VALUES in the place of the SELECT, it would read the whole table.
_FORGET_METADATA: Final = (
    "DELETE FROM message_metadata WHERE (tenant, key, value, message) IN"
    " (SELECT column1, column2, column3, column4 FROM (VALUES (?, ?, ?, ?)) AS gone)"
)
# What a provider answered; nobody repeats an attempt of a message that has ended.
_FORGET_ATTEMPTS: Final = "DELETE FROM attempts WHERE message IN (VALUES (?))"
_LATE: Final = (
    "SELECT message, receipt, entry_json FROM late_receipts WHERE message IN (VALUES (?))"
    " ORDER BY message, receipt"
)
_FORGET_LATE: Final = "DELETE FROM late_receipts WHERE message IN (VALUES (?))"
_PUT_LATE: Final = "INSERT INTO late_receipts (message, receipt, entry_json) VALUES (?, ?, ?)"
_CALLBACKS: Final = "SELECT number, body, url FROM callback_events WHERE message IN (VALUES (?))"
_WRITE_CALLBACKS: Final = """
    UPDATE callback_events SET body = new.column2, url = new.column3
    FROM (VALUES (CAST(? AS INTEGER), CAST(? AS BLOB), CAST(? AS TEXT))) AS new
    WHERE number = new.column1
"""
_PARTS: Final = "SELECT message, carrier, smsc_id FROM parts WHERE message IN (VALUES (?))"
_FORGET_PARTS: Final = "UPDATE parts SET destination = '' WHERE message IN (VALUES (?))"
_FORGET_RECEIPTS: Final = (
    "UPDATE receipts SET destination = '' WHERE (carrier, smsc_id) IN"
    " (SELECT column1, column2 FROM (VALUES (?, ?)) AS gone)"
)


def redact(database: Database, messages: Sequence[str], places: Places) -> int:
    """Redact these messages, at most BATCH, in one transaction. Gives how many there were.

    They have ended: what a message does after this is not kept. It may be repeated.
    """
    with database.transaction():
        ids = [(message,) for message in messages]
        found = list(_each(database, _READ, ids))
        orders = {id_: _order(order) for id_, order, _ in found}
        _forget_where_they_are_found(database, orders, places)
        _redact_late_receipts(database, ids)
        _redact_callbacks(database, ids)
        _all(database, _FORGET_ATTEMPTS, ids)
        now = time.time()
        redacted = [
            (
                id_,
                _encode(redacted_order(orders[id_])),
                None if record is None else _encode(redacted_record(_record(record))),
                now,
            )
            for id_, _, record in found
        ]
        _all(database, _WRITE, redacted)
    return len(redacted)


def _forget_where_they_are_found(
    database: Database, orders: dict[str, MessageOrder], places: Places
) -> None:
    # A message's first address is in its own row.
    others = [
        (place, message)
        for message, order in orders.items()
        if len(order.to) > 1
        for channel, address in order.to.items()
        for place in (
            places.of(order.tenant, channel, address),
            *unkeyed_places(order.tenant, channel, address),
        )
    ]
    for start in range(0, len(others), _RECIPIENTS):
        some = others[start : start + _RECIPIENTS]
        some += some[-1:] * (_RECIPIENTS - len(some))
        database.execute(_FORGET_RECIPIENTS, [value for pair in some for value in pair])
    labels = [
        (order.tenant, key, value, message)
        for message, order in orders.items()
        for key, value in order.metadata.items()
    ]
    _all(database, _FORGET_METADATA, labels)


def _redact_late_receipts(database: Database, ids: Sequence[tuple[str]]) -> None:
    """Their names go as well: they have the provider's ids in them."""
    late: dict[str, list[bytes]] = {}
    for message, _, entry in _each(database, _LATE, ids):
        late.setdefault(message, []).append(entry)
    redacted = [
        (message, f"redacted/{number}", _encode(redacted_entry(_entry(entry))))
        for message, entries in late.items()
        for number, entry in enumerate(entries)
    ]
    _all(database, _FORGET_LATE, [(message,) for message in late])
    _all(database, _PUT_LATE, redacted)


def _redact_callbacks(database: Database, ids: Sequence[tuple[str]]) -> None:
    """Events that can still be replayed: the client's labels, and an address that may hold some."""
    bare = [
        (number, _without_metadata(body), None if url is None else url.partition("?")[0])
        for number, body, url in _each(database, _CALLBACKS, ids)
    ]
    _all(database, _WRITE_CALLBACKS, bare)


def _without_metadata(body: bytes) -> bytes:
    event: Any = _json(body)
    if isinstance(event, dict) and isinstance(event.get("data"), dict):
        event["data"].pop("metadata", None)
    return _encode(event)


def redact_journal(database: Database, messages: Sequence[str]) -> None:
    """Take the numbers of these messages, which have ended, out of the journal of submissions and
    receipts, in one transaction. Receipts are still told from each other by the carrier's ids."""
    parts = list(_each(database, _PARTS, [(message,) for message in messages]))
    if not parts:
        return
    with database.transaction():
        _all(database, _FORGET_PARTS, sorted({(message,) for message, _, _ in parts}))
        at_carriers = {(carrier, id_) for _, carrier, id_ in parts if id_ is not None}
        _all(database, _FORGET_RECEIPTS, sorted(at_carriers))


def _each(database: Database, sql: str, rows: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """What a statement answers for many rows of values, in few statements."""
    for many, values, _ in combined([(sql, row) for row in rows]):
        yield from database.execute(many, values).fetchall()


def _all(database: Database, sql: str, rows: Iterable[Sequence[Any]]) -> None:
    """Run a statement for many rows of values, in few statements."""
    for many, values, _ in combined([(sql, row) for row in rows]):
        database.execute(many, values)
