"""The journal of attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.store.attempts import SqliteAttemptJournal
from domain.delivery import Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TAKEN = Submission(SubmissionState.TAKEN, at=NOW, level=Level.SENT, provider_ids=("x",))
FAILED = Submission(SubmissionState.FAILED, at=NOW, failure=Failure(FailureCode.PROVIDER_ERROR))
BUSY = Submission(SubmissionState.BUSY, at=NOW, retry_after=1.0)


@pytest.fixture
async def journal(where: Path | str) -> AsyncIterator[SqliteAttemptJournal]:
    journal = SqliteAttemptJournal(where)
    yield journal
    await journal.close()


async def test_an_attempt_begins_once(journal: SqliteAttemptJournal):
    assert await journal.begin("m", 1)
    assert not await journal.begin("m", 1)
    assert await journal.begin("m", 2)
    assert await journal.begin("n", 1)


async def test_an_attempt_that_nobody_settled_is_unknown(journal: SqliteAttemptJournal):
    await journal.begin("m", 1)
    outcome = await journal.outcome("m", 1)
    assert outcome.state is SubmissionState.UNKNOWN
    assert outcome.failure == Failure(FailureCode.OUTCOME_UNKNOWN)


@pytest.mark.parametrize("submission", [TAKEN, FAILED])
async def test_a_settled_attempt_is_answered_the_same_for_ever(
    journal: SqliteAttemptJournal, submission: Submission
):
    await journal.begin("m", 1)
    await journal.settle("m", 1, submission)
    assert await journal.outcome("m", 1) == submission
    assert not await journal.begin("m", 1)


async def test_a_busy_provider_leaves_the_attempt_to_begin_again(journal: SqliteAttemptJournal):
    await journal.begin("m", 1)
    await journal.settle("m", 1, BUSY)
    assert await journal.begin("m", 1)


async def test_the_next_process_knows(journal: SqliteAttemptJournal, where: Path | str):
    await journal.begin("m", 1)
    await journal.settle("m", 1, TAKEN)
    await journal.begin("m", 2)
    successor = SqliteAttemptJournal(where)
    try:
        assert await successor.outcome("m", 1) == TAKEN
        assert not await successor.begin("m", 2)
    finally:
        await successor.close()
