"""Parts of mobile-originated messages, kept from before their deliver_sm_resp until the whole
message has been handed on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.store.group_commit import GroupCommit

REPEATED_WITHIN = 3600.0
"""Seconds in which the same part with the same payload is a repetition of the carrier's, whose
deliver_sm_resp was lost. Eight-bit references come again later with other messages."""

PRUNED = 1000
"""Rows deleted in one transaction, which the others wait for."""

_KEY = "carrier = ? AND source = ? AND destination = ? AND reference = ? AND total = ?"
_COLUMNS = (
    "id, carrier, source, destination, reference, total, number, data_coding, payload, received_at"
)
_STORE = f"""
    INSERT INTO inbound ({_COLUMNS}, digest)
    SELECT ?, ?, ?, ?, CAST(? AS INTEGER), CAST(? AS INTEGER), CAST(? AS INTEGER),
        CAST(? AS INTEGER), ?, ?, ? WHERE NOT EXISTS (
        SELECT 1 FROM inbound WHERE {_KEY} AND number = ? AND digest = ?
            AND received_at > ? AND received_at < ?)
    ON CONFLICT (id) DO NOTHING
"""
_PRUNE = """
    DELETE FROM inbound WHERE id IN (
        SELECT id FROM inbound WHERE received_at < ? AND forwarded <> 0
        ORDER BY received_at LIMIT ?)
"""


@dataclass(frozen=True, slots=True)
class InboundPart:
    """One deliver_sm of a person's message. `number` counts from 1 to `total`; a message of one
    part has reference 0, total 1, number 1. `payload` is the short_message without its header;
    `received_at` is in seconds since the epoch. `id` is the writer's own, unique and stable."""

    id: str
    carrier: str
    source: str
    destination: str
    reference: int
    total: int
    number: int
    data_coding: int
    payload: bytes
    received_at: float


class InboundStore:
    """The table of inbound parts; a part of the journal, whose writer it uses.

    Parts of one message may reach different processes, and each process that finds a message
    complete may hand it on: whoever takes it recognises it by the id of its first part.
    """

    _writer: GroupCommit

    def store_inbound(
        self,
        part: InboundPart,
        *,
        repeated_within: float = REPEATED_WITHIN,
        repeated_before: float = float("inf"),
    ) -> asyncio.Future[int]:
        """Write a part; durable when the future is done. The count is 0 for one that repeats a
        part of the last `repeated_within` seconds that came before `repeated_before` (seconds
        since the epoch), forwarded or not; 0 seconds store every one."""
        digest = hashlib.sha256(part.payload).digest()
        key = (part.carrier, part.source, part.destination, part.reference, part.total)
        return self._writer.write(
            _STORE,
            (
                part.id,
                *key,
                part.number,
                part.data_coding,
                part.payload,
                part.received_at,
                digest,
                *key,
                part.number,
                digest,
                part.received_at - repeated_within,
                repeated_before,
            ),
        )

    async def inbound_parts(
        self, carrier: str, source: str, destination: str, reference: int, total: int
    ) -> list[InboundPart]:
        """The parts of one message that came and were not handed on, by number."""
        return await self._inbound(
            f"{_KEY} AND forwarded = 0 ORDER BY number, received_at",
            (carrier, source, destination, reference, total),
        )

    async def inbound_waiting(self, before: float, *, limit: int = 1000) -> list[InboundPart]:
        """The oldest parts that came before this time (seconds since the epoch) and were not
        handed on, oldest first."""
        return await self._inbound(
            "forwarded = 0 AND received_at < ? ORDER BY received_at LIMIT ?", (before, limit)
        )

    async def inbound_forwarded(self, ids: Sequence[str]) -> None:
        """Note that these parts were handed on: their content goes, and what tells a repetition
        stays until it is pruned. Durable on return."""
        if not ids:
            return
        marks = ", ".join("?" * len(ids))
        await self._writer.write(
            f"UPDATE inbound SET forwarded = 1, payload = ? WHERE id IN ({marks})", (b"", *ids)
        )

    async def inbound_held(self, ids: Sequence[str]) -> None:
        """Note that these parts can be handed to nobody. They keep their content, and wait no more
        until `inbound_reopen`. Durable on return."""
        if not ids:
            return
        marks = ", ".join("?" * len(ids))
        await self._writer.write(f"UPDATE inbound SET forwarded = 2 WHERE id IN ({marks})", ids)

    async def inbound_reopen(self) -> None:
        """Let the held parts wait again. Durable on return."""
        await self._writer.write("UPDATE inbound SET forwarded = 0 WHERE forwarded = 2", ())

    async def held_inbound(self, *, limit: int = 1000) -> list[InboundPart]:
        """The newest parts that nobody could be told of, newest first."""
        return await self._inbound("forwarded = 2 ORDER BY received_at DESC LIMIT ?", (limit,))

    async def prune_inbound(self, before: float) -> int:
        """Forget parts that came before this time (seconds since the epoch) and wait no more.
        Gives the number of rows."""
        total = 0
        while count := await self._writer.write(_PRUNE, (before, PRUNED)):
            total += count
        return total

    async def _inbound(self, where: str, values: Sequence[object]) -> list[InboundPart]:
        sql = f"SELECT {_COLUMNS} FROM inbound WHERE {where}"
        rows = await self._writer.read(lambda c: c.execute(sql, values).fetchall())
        return [InboundPart(*row) for row in rows]
