"""How the cost of a message's attempts is settled: what is entered in the ledger, and when.

The ledger only grows. A movement is known by (message, attempt, kind), so however often it is
entered it counts once, and in whatever order the movements of an attempt come they add up to the
same. What an attempt costs is entered as

- `charge`, when the provider took it and its rule is `submitted`;
- `reserve`, when its price may still become due: by the rule `delivered`, or because nobody knows
  whether it was sent. The message's end adds `release`, which takes the reservation back, and a
  `charge` if it has become due. A receipt that comes after the end may still add the `charge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from domain.billing.cost import Rule
from domain.delivery import Submission, SubmissionState
from domain.message import Level
from domain.timeline import Entry, Event, Record


class Kind(str, Enum):
    """What a movement of an attempt's cost is."""

    RESERVE = "reserve"
    RELEASE = "release"
    CHARGE = "charge"


class Movement(NamedTuple):
    """One row of the ledger. `amount`, in millionths, is what it does to the tenant's balance:
    below zero for `reserve` and `charge`. `at`, seconds since 1970, is when the attempt was
    handed over; that day it counts for. `reserved` marks the charge of what was reserved."""

    message: str
    attempt: int
    kind: Kind
    tenant: str
    currency: str
    amount: int
    channel: str
    route: str
    segments: int
    at: float
    rule: Rule
    reserved: bool = False


class Settled(NamedTuple):
    """What the ledger has for one attempt of a message; see Movement."""

    attempt: int
    kind: Kind
    currency: str
    amount: int


class Proof(NamedTuple):
    """A receipt that came after the message's end: it may make a reserved cost due."""

    message: str
    attempt: int
    level: Level | None


def submitted(
    message: str, attempt: int, tenant: str, channel: str, submission: Submission
) -> Movement | None:
    """What to enter as soon as an attempt has been handed over; None when it costs nothing."""
    cost = submission.cost
    if cost is None:
        return None
    due = submission.state is SubmissionState.TAKEN and (
        cost.rule is Rule.SUBMITTED or _delivered(submission.level)
    )
    kind = Kind.CHARGE if due else Kind.RESERVE
    at = submission.at.timestamp()
    return Movement(
        message, attempt, kind, tenant, cost.currency, -cost.amount,
        channel, submission.provider or "", cost.segments, at, cost.rule,
    )  # fmt: skip


def ended(message: str, tenant: str, record: Record) -> list[Movement]:
    """Everything that is to be in the ledger for a message that has ended."""
    priced = [entry for entry in record.timeline if entry.cost is not None]
    if not priced:
        return []
    found: list[Movement] = []
    for entry in priced:
        found += _of_attempt(message, tenant, entry, record)
    return found


def due_after_all(reserve: Movement, level: Level | None) -> Movement | None:
    """The charge of a reserved cost that a late receipt of this level (None: of a failure) makes
    due, None if it does not."""
    if not _makes_due(reserve.rule, level):
        return None
    return reserve._replace(kind=Kind.CHARGE, reserved=True)


def left_over(reserve: Movement, record: Record) -> Iterator[Movement]:
    """What ends a reservation that the message's own end did not know of, because nobody heard the
    attempt's answer: `record` is the message's, which has ended."""
    yield reserve._replace(kind=Kind.RELEASE, amount=-reserve.amount)
    if any(_makes_due(reserve.rule, level) for level in _receipts(record, reserve.attempt)):
        yield reserve._replace(kind=Kind.CHARGE, reserved=True)


def _of_attempt(message: str, tenant: str, entry: Entry, record: Record) -> Iterator[Movement]:
    cost = entry.cost
    assert cost is not None
    assert entry.attempt is not None
    movement = Movement(
        message, entry.attempt, Kind.CHARGE, tenant, cost.currency, -cost.amount,
        entry.channel or "", entry.provider or "", cost.segments, entry.at.timestamp(),
        cost.rule,
    )  # fmt: skip
    taken = entry.event is Event.SUBMITTED
    if taken and (cost.rule is Rule.SUBMITTED or _delivered(entry.level)):
        yield movement
        return
    yield movement._replace(kind=Kind.RESERVE)
    yield movement._replace(kind=Kind.RELEASE, amount=cost.amount)
    if any(_makes_due(cost.rule, level) for level in _receipts(record, entry.attempt)):
        yield movement._replace(reserved=True)


def _receipts(record: Record, attempt: int) -> Iterator[Level | None]:
    """The levels of an attempt's receipts, None for those of a failure."""
    for entry in record.timeline:
        if entry.event is Event.RECEIPT and entry.attempt == attempt:
            yield entry.level


def _makes_due(rule: Rule, level: Level | None) -> bool:
    """Whether a receipt of this level (None: of a failure) makes a reserved cost due. Whatever it
    says, it proves that the provider had taken the attempt."""
    return rule is Rule.SUBMITTED or _delivered(level)


def _delivered(level: Level | None) -> bool:
    return level is not None and level.reaches(Level.DELIVERED)
