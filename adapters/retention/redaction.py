"""Takes what names people out of messages that have ended, wherever the database has it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from adapters.store.database import Database
from adapters.store.recipients import places_of
from domain.message import MessageOrder
from domain.retention import redacted_entry, redacted_order, redacted_record
from domain.timeline import Entry, Record

BATCH: Final = 25
"""Messages in one transaction, which others wait for: some 3 ms of work and a commit."""

_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(MessageOrder).decode
_record = msgspec.json.Decoder(Record).decode
_entry = msgspec.json.Decoder(Entry).decode
_json = msgspec.json.Decoder().decode

_READ: Final = "SELECT order_json, record_json FROM messages WHERE id = ?"
_WRITE: Final = (
    "UPDATE messages SET order_json = ?, record_json = ?, recipient = NULL,"
    " redacted_at = coalesce(redacted_at, ?) WHERE id = ?"
)


def redact(database: Database, messages: Sequence[str]) -> int:
    """Redact these messages, at most BATCH, in one transaction. Gives how many there were.

    They have ended: what a message does after this is not kept. It may be repeated.
    """
    with database.transaction():
        return sum(_redact(database, message) for message in messages)


def _redact(database: Database, message: str) -> int:
    row = database.execute(_READ, (message,)).fetchone()
    if row is None:
        return 0
    order = _order(row[0])
    _forget_where_it_is_found(database, message, order)
    _redact_late_receipts(database, message)
    _redact_callbacks(database, message)
    # What a provider answered; nobody repeats an attempt of a message that has ended.
    database.execute("DELETE FROM attempts WHERE message = ?", (message,))
    record = None if row[1] is None else _encode(redacted_record(_record(row[1])))
    redacted = _encode(redacted_order(order))
    database.execute(_WRITE, (redacted, record, time.time(), message))
    return 1


def _forget_where_it_is_found(database: Database, message: str, order: MessageOrder) -> None:
    for place in places_of(order):
        database.execute(
            "DELETE FROM message_recipients WHERE address = ? AND message = ?", (place, message)
        )
    for key, value in order.metadata.items():
        database.execute(
            "DELETE FROM message_metadata"
            " WHERE tenant = ? AND key = ? AND value = ? AND message = ?",
            (order.tenant, key, value, message),
        )


def _redact_late_receipts(database: Database, message: str) -> None:
    """Their names go as well: they have the provider's ids in them."""
    rows = database.execute(
        "SELECT entry_json FROM late_receipts WHERE message = ? ORDER BY receipt", (message,)
    ).fetchall()
    if not rows:
        return
    database.execute("DELETE FROM late_receipts WHERE message = ?", (message,))
    for number, (entry,) in enumerate(rows):
        database.execute(
            "INSERT INTO late_receipts (message, receipt, entry_json) VALUES (?, ?, ?)",
            (message, f"redacted/{number}", _encode(redacted_entry(_entry(entry)))),
        )


def _redact_callbacks(database: Database, message: str) -> None:
    """Events that can still be replayed: the client's labels, and an address that may hold some."""
    rows = database.execute(
        "SELECT number, body, url FROM callback_events WHERE message = ?", (message,)
    ).fetchall()
    for number, body, url in rows:
        bare = None if url is None else url.partition("?")[0]
        database.execute(
            "UPDATE callback_events SET body = ?, url = ? WHERE number = ?",
            (_without_metadata(body), bare, number),
        )


def _without_metadata(body: bytes) -> bytes:
    event: Any = _json(body)
    if isinstance(event, dict) and isinstance(event.get("data"), dict):
        event["data"].pop("metadata", None)
    return _encode(event)


def redact_journal(database: Database, messages: Sequence[str]) -> None:
    """Take the numbers of these messages, which have ended, out of the journal of submissions and
    receipts, in one transaction. Receipts are still told from each other by the carrier's ids."""
    with database.transaction():
        for message in messages:
            rows = database.execute(
                "SELECT carrier, smsc_id FROM parts WHERE message = ?", (message,)
            ).fetchall()
            if not rows:
                continue
            database.execute("UPDATE parts SET destination = '' WHERE message = ?", (message,))
            for carrier, smsc_id in rows:
                database.execute(
                    "UPDATE receipts SET destination = '' WHERE carrier = ? AND smsc_id = ?",
                    (carrier, smsc_id),
                )
