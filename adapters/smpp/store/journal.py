"""What the bind pool must not forget: every part it may have submitted, every receipt it got.

A part is written before its submit_sm goes to the socket, and a receipt before its
deliver_sm_resp, so whatever kills the process, the next one knows what may be out there.

On PostgreSQL several processes share one journal. Each writes its own parts; a receipt may reach
any of them, and whichever stores it forwards it. A process shows that it lives by a lock on its
session that PostgreSQL drops with the connection, so that the others need not guess whether a part
that is begun may still be settled (`under_way`), and who forwards a receipt (`adopt`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from adapters.smpp.store.carrier_store import CarrierStore
from adapters.smpp.store.inbound_store import PRUNED, InboundStore
from adapters.store.database import Database, is_postgres
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store

T = TypeVar("T")


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
    awakeable is heard no more, `signalled` that it has been used. `owner` is the process that began
    it, as the journal sets it."""

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
    owner: int = 0


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


class Unforwarded(NamedTuple):
    """A receipt that Restate does not have yet, and the part that its id names, if any does."""

    receipt: StoredReceipt
    part: Part | None


_PART = (
    "message, attempt, part, parts, carrier, destination, reference, receipt_ref, begun_at, state,"
    " smsc_id, command_status, released"
)
_RECEIPT = "carrier, smsc_id, state, stat, error, final, destination, reference, received_at"
_SIGNALLED = (
    "EXISTS (SELECT 1 FROM receipts WHERE receipts.carrier = parts.carrier"
    " AND receipts.smsc_id = parts.smsc_id AND forwarded = 1)"
)
# A change is written as a whole row, too: so one statement can change many, on both databases,
# with no join to plan.
_BEGIN_OR = (
    f"INSERT INTO parts ({_PART}, owner) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    " ON CONFLICT (message, attempt, part)"
)
_BEGIN = f"{_BEGIN_OR} DO NOTHING"
_SETTLE = (
    f"{_BEGIN_OR} DO UPDATE SET state = excluded.state, smsc_id = excluded.smsc_id,"
    " command_status = excluded.command_status"
)
_DROP_RETURNED = (
    "DELETE FROM parts WHERE message = ? AND attempt = ? AND EXISTS (SELECT 1 FROM parts AS p"
    " WHERE p.message = parts.message AND p.attempt = parts.attempt AND p.state = 'returned')"
)
_DROP_EXCESS = (
    "DELETE FROM parts WHERE message = ? AND attempt = ? AND EXISTS (SELECT 1 FROM parts AS p"
    " WHERE p.message = parts.message AND p.attempt = parts.attempt AND p.part = 0"
    " AND p.parts <= parts.part)"
)
_STORE_OR = (
    f"INSERT INTO receipts ({_RECEIPT}, forwarded, owner) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
    " ON CONFLICT (carrier, smsc_id, state)"
)
_STORE = f"{_STORE_OR} DO NOTHING"
_FORWARDED = f"{_STORE_OR} DO UPDATE SET forwarded = 1"
_NEXT_OWNER = "SELECT owner FROM receipts WHERE forwarded = 0 AND owner > ? ORDER BY owner LIMIT 1"
_OF_OWNER = (
    f"SELECT id, {_RECEIPT} FROM receipts WHERE forwarded = 0 AND owner = ? ORDER BY id LIMIT ?"
)
_ADOPT = "UPDATE receipts SET owner = ? WHERE forwarded = 0 AND owner = ? AND id <= ?"
_RELEASE = "UPDATE parts SET released = 1 WHERE message = ? AND attempt = ?"

PAGE = 1000
"""Receipts read at once."""
_LOOKED_UP = 400
"""Keys in one query; a SQLite of before 2020 takes 999 values."""
_HIGHEST_ID = 2**63 - 1


class Journal(CarrierStore, InboundStore):
    """The journal in one SQLite file, or in one PostgreSQL database that several processes share;
    written in groups."""

    def __init__(self, where: Path | str, *, linger: float = 0.005) -> None:
        self.shared = is_postgres(where)
        """Whether other processes may write to it, too."""
        database = open_store(where, "smpp")
        self._owner = secrets.randbits(31)
        database.hold(self._owner)
        self._writer = GroupCommit(database, linger=linger)

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()

    # Parts

    async def begin(self, parts: Sequence[Part]) -> bool:
        """Write the parts of an attempt; False, and nothing changed, if it was begun before, by
        any process."""
        written = [self._begin(part) for part in parts]
        new, *more = [await count for count in written]
        if not new and any(more):
            # It was begun for a carrier that has it in fewer parts.
            await self._writer.write(_DROP_EXCESS, (parts[0].message, parts[0].attempt))
        return new == 1

    async def reopen(self, parts: Sequence[Part]) -> bool:
        """Write the parts of an attempt anew, perhaps for another carrier: what was known of them
        is that some had not been taken. False, and nothing changed, if that is true no more, since
        another process was faster."""
        first = parts[0]
        dropped = self._writer.write(_DROP_RETURNED, (first.message, first.attempt))
        begun = await self.begin(parts)
        await dropped
        return begun

    def settle(self, part: Part) -> asyncio.Future[int]:
        """Write what has become known of a part."""
        return self._writer.write(_SETTLE, _part_row(part))

    async def release(self, message: str, attempt: int) -> None:
        """Note that the attempt's awakeable is heard no more."""
        await self._writer.write(_RELEASE, (message, attempt))

    async def parts_of(self, message: str, attempt: int) -> list[Part]:
        """The parts of an attempt, in order."""
        return _own_parts(
            await self._parts(
                "FROM parts WHERE message = ? AND attempt = ? ORDER BY part", (message, attempt)
            )
        )

    async def parts_of_all(
        self, attempts: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], list[Part]]:
        """The parts of many attempts, each in order; an attempt that was not begun is missing."""
        found: dict[tuple[str, int], list[Part]] = {}
        for portion in _portions(attempts):
            rows = ", ".join(["(?, CAST(? AS INTEGER))"] * len(portion))
            for part in await self._parts(
                f"FROM (VALUES {rows}) AS v JOIN parts ON message = v.column1"
                " AND attempt = v.column2 ORDER BY part",
                list(chain.from_iterable(portion)),
            ):
                found.setdefault((part.message, part.attempt), []).append(part)
        return {attempt: _own_parts(parts) for attempt, parts in found.items()}

    async def parts_by_smsc_ids(
        self, keys: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], Part]:
        """The parts that carriers gave ids, by carrier and id; of one that was given twice, the
        newest. A query finds some hundred of them; a pair that no part has is missing. Another
        process may have written the part a moment ago."""
        return await self._writer.read(lambda database: _parts_by_smsc_ids(database, keys))

    async def part_by_reference(
        self, carrier: str, reference: int, destination: str, begun_after: float
    ) -> Part | None:
        """The part of unknown outcome that a receipt names by user_message_reference, if exactly
        one fits."""
        found = await self._parts(
            "FROM parts WHERE carrier = ? AND reference = ? AND destination = ?"
            " AND state = 'begun' AND begun_at > ? LIMIT 2",
            (carrier, reference, destination, begun_after),
        )
        return found[0] if len(found) == 1 else None

    async def under_way(self, parts: Sequence[Part]) -> bool:
        """Whether another process that lives began one of these parts and has not settled it: it
        may still do so, and until then nobody should call the outcome unknown.

        A process that has ended is known as such at once, one whose machine is gone after some ten
        seconds. One that has lost its connection to the database counts as ended, and its parts as
        unknown, since it cannot settle them either.
        """
        owners = {part.owner for part in parts if part.state is PartState.BEGUN} - {self._owner}
        if not owners:
            return False
        return await self._writer.read(lambda database: any(map(database.held, owners)))

    # Receipts

    def store(self, receipt: StoredReceipt) -> asyncio.Future[int]:
        """Write a receipt; the count is 0 for one that is there already."""
        return self._writer.write(_STORE, _receipt_row(receipt, self._owner, forwarded=0))

    def forwarded(self, receipt: StoredReceipt) -> None:
        """Note that Restate has what the receipt says. Nobody need wait: if the note is lost, the
        receipt is forwarded again, and Restate knows it by its id."""
        self._writer.note(_FORWARDED, _receipt_row(receipt, self._owner, forwarded=1))

    async def receipts_of(self, parts: Sequence[Part]) -> list[StoredReceipt]:
        """Every receipt for these parts, which may be of many attempts, oldest first."""
        keys = [(part.carrier, part.smsc_id) for part in parts if part.smsc_id is not None]
        receipts: list[StoredReceipt] = []
        for portion in _portions(keys):
            receipts += await self._receipts(
                f"FROM (VALUES {_pairs(portion)}) AS v JOIN receipts ON carrier = v.column1"
                " AND smsc_id = v.column2",
                list(chain.from_iterable(portion)),
            )
        return sorted(receipts, key=lambda receipt: receipt.received_at)

    async def receipts_to_forward(self) -> list[StoredReceipt]:
        """Every receipt that Restate does not have yet, oldest first, of any process."""
        return await self._receipts("FROM receipts WHERE forwarded = 0 ORDER BY id", ())

    async def adopt(self, *, limit: int = PAGE) -> list[Unforwarded]:
        """Take over a page of the receipts that Restate does not have yet and that nobody brings
        there, since the process that stored or adopted them has ended: oldest first, none when
        there are no more. Of several processes that ask, one gets them.
        """

        def query(database: Database) -> list[Unforwarded]:
            owner = -1
            while row := database.execute(_NEXT_OWNER, (owner,)).fetchone():
                owner = row[0]
                if owner == self._owner or database.held(owner):
                    continue
                with database.transaction():
                    rows = database.execute(_OF_OWNER, (owner, limit)).fetchall()
                    taken = rows and database.execute(_ADOPT, (self._owner, owner, rows[-1][0]))
                if not taken or not taken.rowcount:
                    # Another process was faster.
                    continue
                receipts = [_stored_receipt(*columns) for _, *columns in rows]
                keys = {(receipt.carrier, receipt.smsc_id) for receipt in receipts}
                parts = _parts_by_smsc_ids(database, list(keys))
                return [Unforwarded(r, parts.get((r.carrier, r.smsc_id))) for r in receipts]
            return []

        return await self._writer.read(query)

    # Forgetting

    async def prune(self, before: float) -> int:
        """Forget parts begun, and receipts and inbound parts received, before this time (seconds
        since the epoch), but no inbound part that still waits. In portions, between which other
        writes have their turn. Gives the number of rows."""
        return (
            await self._prune("parts", "begun_at", before)
            + await self._prune("receipts", "received_at", before)
            + await self.prune_inbound(before)
        )

    async def _prune(self, table: str, column: str, before: float) -> int:
        # Ids rise with time, and need no index of their own.
        border = f"SELECT id, {column} FROM {table} ORDER BY id LIMIT 1 OFFSET {PRUNED}"
        old = f"DELETE FROM {table} WHERE id < ? AND {column} < ?"
        total = 0
        while True:
            row = await self._writer.read(lambda database: database.execute(border).fetchone())
            last, time = (_HIGHEST_ID, before) if row is None else row
            total += await self._writer.write(old, (last, before))
            if time >= before:
                return total

    # How it is done

    def _begin(self, part: Part) -> asyncio.Future[int]:
        part.owner = self._owner
        return self._writer.write(_BEGIN, _part_row(part))

    async def _parts(self, where: str, values: Sequence[object]) -> list[Part]:
        return await self._writer.read(lambda database: _read_parts(database, where, values))

    async def _receipts(self, where: str, values: Sequence[object]) -> list[StoredReceipt]:
        rows = await self._writer.read(
            lambda database: database.execute(f"SELECT {_RECEIPT} {where}", values).fetchall()
        )
        return [_stored_receipt(*row) for row in rows]


def _own_parts(parts: list[Part]) -> list[Part]:
    """Without those that a process wrote in vain, for an attempt that is in fewer parts, and did
    not live to take back."""
    return [part for part in parts if part.part < parts[0].parts]


def _read_parts(database: Database, where: str, values: Sequence[object]) -> list[Part]:
    rows = database.execute(f"SELECT {_PART}, {_SIGNALLED}, owner {where}", values).fetchall()
    return [_part(*row) for row in rows]


def _parts_by_smsc_ids(
    database: Database, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Part]:
    found: dict[tuple[str, str], Part] = {}
    for portion in _portions(keys):
        where = (
            f"FROM (VALUES {_pairs(portion)}) AS v JOIN parts ON carrier = v.column1"
            " AND smsc_id = v.column2 ORDER BY begun_at"
        )
        for part in _read_parts(database, where, list(chain.from_iterable(portion))):
            assert part.smsc_id is not None
            found[part.carrier, part.smsc_id] = part
    return found


def _portions(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    return (keys[start : start + _LOOKED_UP] for start in range(0, len(keys), _LOOKED_UP))


def _pairs(keys: Sequence[object]) -> str:
    return ", ".join(["(?, ?)"] * len(keys))


def _part_row(part: Part) -> tuple[object, ...]:
    return (
        part.message,
        part.attempt,
        part.part,
        part.parts,
        part.carrier,
        part.destination,
        part.reference,
        part.receipt_ref,
        part.begun_at,
        part.state.value,
        part.smsc_id,
        part.command_status,
        int(part.released),
        part.owner,
    )


def _receipt_row(receipt: StoredReceipt, owner: int, *, forwarded: int) -> tuple[object, ...]:
    error = receipt.error
    return (
        receipt.carrier,
        _text(receipt.smsc_id),
        receipt.state,
        _text(receipt.stat),
        None if error is None else _text(error),
        int(receipt.final),
        receipt.destination,
        receipt.reference,
        receipt.received_at,
        forwarded,
        owner,
    )


def _text(from_carrier: str) -> str:
    # PostgreSQL's text cannot hold it, and would refuse the whole group.
    return from_carrier.replace("\0", "")


def _part(*columns: Any) -> Part:
    part = Part(*columns)
    part.state = PartState(part.state)
    part.released, part.signalled = bool(part.released), bool(part.signalled)
    return part


def _stored_receipt(*columns: Any) -> StoredReceipt:
    receipt = StoredReceipt(*columns)
    return replace(receipt, final=bool(receipt.final))
