"""What the bind pool must not forget: every part it may have submitted, every receipt it got.

A part is written before its submit_sm goes to the socket, and a receipt before its
deliver_sm_resp, so whatever kills the process, the next one knows what may be out there.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from adapters.smpp.carrier_store import CarrierStore
from adapters.smpp.inbound_store import InboundStore
from adapters.store.database import GroupCommit, connect, migrate


class PartState(str, Enum):
    """What is known of one submit_sm."""

    BEGUN = "begun"  # it may have been written, no answer is known
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETURNED = "returned"  # certainly not taken: throttled, or never written


@dataclass(slots=True)
class Part:
    """One submit_sm of one attempt. `part` counts from 0; `reference` is its
    user_message_reference; `receipt_ref` the awakeable of the attempt. `released` says that the
    awakeable is heard no more, `signalled` that it has been used."""

    message: str
    attempt: int
    part: int
    parts: int
    carrier: str
    destination: str
    reference: int
    receipt_ref: str
    begun_at: float
    state: PartState = PartState.BEGUN
    smsc_id: str | None = None
    command_status: int | None = None
    released: bool = False
    signalled: bool = False


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """One delivery receipt as it came. `state` is the SMPP message_state."""

    carrier: str
    smsc_id: str
    state: int
    stat: str
    error: str | None
    final: bool
    destination: str
    reference: int | None
    received_at: float


_PART = (
    "message, attempt, part, parts, carrier, destination, reference, receipt_ref, begun_at, state,"
    " smsc_id, command_status, released"
)
_RECEIPT = "carrier, smsc_id, state, stat, error, final, destination, reference, received_at"
_SIGNALLED = (
    "EXISTS (SELECT 1 FROM receipts WHERE receipts.carrier = parts.carrier"
    " AND receipts.smsc_id = parts.smsc_id AND forwarded = 1)"
)
_BEGIN = f"INSERT INTO parts ({_PART}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
_SETTLE = (
    "UPDATE parts SET state = ?, smsc_id = ?, command_status = ?"
    " WHERE message = ? AND attempt = ? AND part = ?"
)
_DROP = "DELETE FROM parts WHERE message = ? AND attempt = ?"
_STORE = f"INSERT INTO receipts ({_RECEIPT}) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
_FORWARDED = "UPDATE receipts SET forwarded = 1 WHERE carrier = ? AND smsc_id = ? AND state = ?"
_RELEASE = "UPDATE parts SET released = 1 WHERE message = ? AND attempt = ?"


class Journal(CarrierStore, InboundStore):
    """The journal in one SQLite file, written in groups."""

    def __init__(self, path: Path) -> None:
        connection = connect(path)
        migrate(connection, "smpp")
        self._writer = GroupCommit(connection)

    async def close(self) -> None:
        """Write what is queued and close the file."""
        await self._writer.close()

    async def begin(self, parts: Sequence[Part]) -> bool:
        """Write the parts of an attempt; False, and nothing changed, if it was begun before."""
        written = [
            self._writer.write(
                _BEGIN,
                (
                    p.message,
                    p.attempt,
                    p.part,
                    p.parts,
                    p.carrier,
                    p.destination,
                    p.reference,
                    p.receipt_ref,
                    p.begun_at,
                    p.state.value,
                    p.smsc_id,
                    p.command_status,
                    p.released,
                ),
            )
            for p in parts
        ]
        counts = [await count for count in written]
        return counts[0] == 1

    async def reopen(self, parts: Sequence[Part]) -> None:
        """Write the parts of an attempt anew, perhaps for another carrier: what was known of them
        is that some had not been taken."""
        first = parts[0]
        dropped = self._writer.write(_DROP, (first.message, first.attempt))
        await self.begin(parts)
        await dropped

    def settle(self, part: Part) -> asyncio.Future[int]:
        """Write what has become known of a part."""
        return self._writer.write(
            _SETTLE,
            (
                part.state.value,
                part.smsc_id,
                part.command_status,
                part.message,
                part.attempt,
                part.part,
            ),
        )

    def store(self, receipt: StoredReceipt) -> asyncio.Future[int]:
        """Write a receipt; the count is 0 for one that is there already."""
        return self._writer.write(
            _STORE,
            (
                receipt.carrier,
                receipt.smsc_id,
                receipt.state,
                receipt.stat,
                receipt.error,
                receipt.final,
                receipt.destination,
                receipt.reference,
                receipt.received_at,
            ),
        )

    def forwarded(self, receipt: StoredReceipt) -> asyncio.Future[int]:
        """Note that Restate has what the receipt says."""
        return self._writer.write(_FORWARDED, (receipt.carrier, receipt.smsc_id, receipt.state))

    async def release(self, message: str, attempt: int) -> None:
        """Note that the attempt's awakeable is heard no more."""
        await self._writer.write(_RELEASE, (message, attempt))

    async def parts_of(self, message: str, attempt: int) -> list[Part]:
        """The parts of an attempt, in order."""
        return await self._parts(
            "WHERE message = ? AND attempt = ? ORDER BY part", (message, attempt)
        )

    async def part_by_smsc_id(self, carrier: str, smsc_id: str) -> Part | None:
        """The part that a carrier gave this id, the newest if it gave it twice."""
        found = await self._parts(
            "WHERE carrier = ? AND smsc_id = ? ORDER BY begun_at DESC LIMIT 1", (carrier, smsc_id)
        )
        return found[0] if found else None

    async def part_by_reference(
        self, carrier: str, reference: int, destination: str, begun_after: float
    ) -> Part | None:
        """The part of unknown outcome that a receipt names by user_message_reference, if exactly
        one fits."""
        found = await self._parts(
            "WHERE carrier = ? AND reference = ? AND destination = ? AND state = 'begun'"
            " AND begun_at > ? LIMIT 2",
            (carrier, reference, destination, begun_after),
        )
        return found[0] if len(found) == 1 else None

    async def receipts_of(self, parts: Sequence[Part]) -> list[StoredReceipt]:
        """Every receipt for these parts, oldest first."""
        receipts = []
        for part in parts:
            if part.smsc_id is not None:
                receipts += await self._receipts(
                    "WHERE carrier = ? AND smsc_id = ?", (part.carrier, part.smsc_id)
                )
        return sorted(receipts, key=lambda receipt: receipt.received_at)

    async def receipts_to_forward(self) -> list[StoredReceipt]:
        """Every receipt that Restate does not have yet, oldest first."""
        return await self._receipts("WHERE forwarded = 0 ORDER BY received_at", ())

    async def prune(self, before: float) -> None:
        """Forget parts begun and receipts received before this time (seconds since the epoch)."""
        await self._writer.write("DELETE FROM parts WHERE begun_at < ?", (before,))
        await self._writer.write("DELETE FROM receipts WHERE received_at < ?", (before,))

    async def _parts(self, where: str, values: Sequence[object]) -> list[Part]:
        rows = await self._rows(f"SELECT {_PART}, {_SIGNALLED} FROM parts {where}", values)
        return [_part(*row) for row in rows]

    async def _receipts(self, where: str, values: Sequence[object]) -> list[StoredReceipt]:
        rows = await self._rows(f"SELECT {_RECEIPT} FROM receipts {where}", values)
        return [_stored_receipt(*row) for row in rows]

    async def _rows(self, sql: str, values: Sequence[object]) -> list[sqlite3.Row]:
        return await self._writer.read(lambda c: c.execute(sql, values).fetchall())


def _part(*columns: Any) -> Part:
    part = Part(*columns)
    part.state, part.released = PartState(part.state), bool(part.released)
    return part


def _stored_receipt(*columns: Any) -> StoredReceipt:
    receipt = StoredReceipt(*columns)
    return replace(receipt, final=bool(receipt.final))
