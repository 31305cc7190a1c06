"""What is true of every message that has ended, whatever happened to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from domain.delivery import SubmissionState
from domain.message import NO_CONTENT, MessageOrder
from domain.mode import Mode
from domain.ports import LoggedMessage
from domain.timeline import Event, Record, Status
from tests.cascade.channels import Call


def check_story(sent: MessageOrder, logged: LoggedMessage, calls: Sequence[Call]) -> None:
    """Fails with what does not hold."""
    record = logged.record
    assert record is not None
    _check_end(record)
    _check_times(sent, record)
    if sent.mode is Mode.TEST:
        assert not calls, "a test message reached a channel"
    else:
        _check_attempts(record, calls)
    _check_level(record)
    assert logged.order.content == NO_CONTENT, "the content outlives the message"
    assert (logged.status, logged.channel) == (record.status, record.channel)
    assert logged.ended_at == record.ended_at
    assert all(call.request.not_after <= sent.expires_at for call in calls)


def _check_end(record: Record) -> None:
    assert record.status.terminal
    endings = [entry for entry in record.timeline if entry.event is Event.ENDED]
    assert endings == record.timeline[-1:], "one ending, and it is the last line"
    assert endings[0].status is record.status
    assert record.ended_at == endings[0].at
    assert record.refs == {}
    arrived = record.status in (Status.SENT, Status.DELIVERED)
    assert (record.failure is None) == arrived


def _check_times(sent: MessageOrder, record: Record) -> None:
    assert record.timeline[0].event is Event.ACCEPTED
    assert record.timeline[0].at == sent.accepted_at
    times = [entry.at for entry in record.timeline]
    assert all(earlier <= later for earlier, later in pairwise(times)), times


def _check_attempts(record: Record, calls: Sequence[Call]) -> None:
    asked = Counter(call.request.attempt for call in calls)
    assert sorted(asked) == list(range(1, len(asked) + 1)), "attempts count from 1 without gaps"
    for attempt, times in asked.items():
        answers = [call.answer for call in calls if call.request.attempt == attempt]
        repeatable = sum(a is None or a.state is SubmissionState.BUSY for a in answers)
        assert times <= 1 + repeatable, f"attempt {attempt} was handed over {times} times"
    steps = [entry.step for entry in record.timeline if entry.event is Event.STEP]
    assert steps == list(range(1, len(steps) + 1))
    assert {e.attempt for e in record.timeline if e.event is Event.SUBMITTED} <= set(asked)
    receipts = [entry.receipt_id for entry in record.timeline if entry.receipt_id is not None]
    assert len(receipts) == len(set(receipts)), "a receipt is told once"
    in_doubt: dict[int | None, str | None] = {}
    ever: set[str | None] = set()
    for entry in record.timeline:
        if entry.event in (Event.SUBMITTED, Event.OUTCOME_UNKNOWN):
            if entry.channel in in_doubt.values():
                assert entry.possible_duplicate
            # A doubt that was lifted may have been there when the repetition was handed over.
            assert not entry.possible_duplicate or entry.channel in ever
        if entry.event is Event.OUTCOME_UNKNOWN:
            in_doubt[entry.attempt] = entry.channel
            ever.add(entry.channel)
        if entry.event is Event.RECEIPT and entry.failure is not None:
            in_doubt.pop(entry.attempt, None)


def _check_level(record: Record) -> None:
    proven = [
        entry.level
        for entry in record.timeline
        if entry.level is not None and entry.event in (Event.SUBMITTED, Event.RECEIPT)
    ]
    if not proven:
        assert record.level is None
        return
    assert record.level is not None
    assert all(record.level.reaches(level) for level in proven)
    assert record.level in proven
