"""Which attempts were begun and what became of them, for channels without their own journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapters.store.database import Database
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store
from domain.delivery import Submission, SubmissionState
from domain.failures import Failure, FailureCode

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Submission).decode
_BEGIN = "INSERT INTO attempts (message, attempt) VALUES (?, ?) ON CONFLICT DO NOTHING"
_SETTLE = "UPDATE attempts SET submission_json = ? WHERE message = ? AND attempt = ?"
_DROP = "DELETE FROM attempts WHERE message = ? AND attempt = ?"


class SqliteAttemptJournal:
    """The journal in the database of the message log."""

    def __init__(self, where: Path | str) -> None:
        self._writer = GroupCommit(open_store(where, "hermes"))

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()

    async def begin(self, message: str, attempt: int) -> bool:
        """Note that the attempt begins; False when it was begun before. Durable on return."""
        return await self._writer.write(_BEGIN, (message, attempt)) == 1

    async def settle(self, message: str, attempt: int, submission: Submission) -> None:
        """Note what became of the attempt. One that found the provider busy may begin again."""
        if submission.state is SubmissionState.BUSY:
            await self._writer.write(_DROP, (message, attempt))
        else:
            await self._writer.write(_SETTLE, (_encode(submission), message, attempt))

    async def outcome(self, message: str, attempt: int) -> Submission:
        """What became of an attempt that was begun before: unknown when nobody noted it."""
        return await self.known(message, attempt) or _nobody_knows()

    async def known(self, message: str, attempt: int) -> Submission | None:
        """The same; None for an attempt that was never begun."""

        def query(database: Database) -> tuple[bytes | None] | None:
            row: tuple[bytes | None] | None = database.execute(
                "SELECT submission_json FROM attempts WHERE message = ? AND attempt = ?",
                (message, attempt),
            ).fetchone()
            return row

        row = await self._writer.read(query)
        if row is None:
            return None
        return _nobody_knows() if row[0] is None else _decode(row[0])


def _nobody_knows() -> Submission:
    return Submission(
        SubmissionState.UNKNOWN,
        at=datetime.now(UTC),
        failure=Failure(FailureCode.OUTCOME_UNKNOWN),
    )
