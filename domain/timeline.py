"""The whole story of one message: what happened, when, and why."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from domain.billing.cost import Cost
from domain.failures import Failure
from domain.message import Level, MessageOrder
from domain.routing.choice import RouteChoice


class Status(str, Enum):
    """Where a message stands. The last five never change again."""

    SCHEDULED = "scheduled"
    PROCESSING = "processing"
    SENT = "sent"  # reached the plan's success level, which was below `delivered`
    DELIVERED = "delivered"  # a receipt proves it
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        """True when nothing will change the status any more."""
        return self not in (Status.SCHEDULED, Status.PROCESSING)


class Event(str, Enum):
    """The kinds of timeline entries."""

    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    QUIET_HOURS = "quiet_hours"  # the next step waits for the end of the recipient's
    STEP = "step"  # the cascade turned to a step's channel
    SUBMITTED = "submitted"  # a provider took the attempt
    DEFERRED = "deferred"  # the provider is busy: the message waits, nothing was sent
    OUTCOME_UNKNOWN = "outcome_unknown"
    FAILED = "failed"  # the attempt failed
    RECEIPT = "receipt"
    TIMEOUT = "timeout"
    CANCEL_REQUESTED = "cancel_requested"
    ENDED = "ended"
    VERDICT = "verdict"  # a layer's, as the API shows it: the order keeps them, not the record
    CALLBACK = "callback"  # an endpoint of the tenant was told, or will be; never in a record


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the timeline. `step` and `attempt` count from 1."""

    at: datetime
    event: Event
    step: int | None = None
    channel: str | None = None
    attempt: int | None = None
    provider: str | None = None
    level: Level | None = None
    failure: Failure | None = None
    provider_ids: tuple[str, ...] = ()
    provider_status: str | None = None
    receipt_id: str | None = None
    segments: int | None = None
    retry_after: float | None = None
    possible_duplicate: bool = False
    late: bool = False
    status: Status | None = None
    cost: Cost | None = None
    route: RouteChoice | None = None


RECEIPTS_LISTED = 200
"""Receipts that each have a line in a timeline; of those beyond, only what proves more."""


class Record(msgspec.Struct, omit_defaults=True):
    """A message's progress as the cascade keeps it in Restate and leaves it in the message log.

    `refs` holds, for each attempt that can still be reported on, the awakeable that takes its
    signals; it is empty once the message has ended. `level` is the furthest level proven.
    """

    status: Status
    timeline: list[Entry]
    refs: dict[int, str] = {}
    channel: str | None = None
    level: Level | None = None
    failure: Failure | None = None
    ended_at: datetime | None = None

    def has_receipt(self, receipt_id: str | None) -> bool:
        """True when the timeline shows this report already."""
        return receipt_id is not None and any(e.receipt_id == receipt_id for e in self.timeline)

    def has_enough_of(self, level: Level | None) -> bool:
        """True when a report of this level is one of a flood: it proves nothing more, and the
        timeline shows RECEIPTS_LISTED of them."""
        if level is None or self.level is None or not self.level.reaches(level):
            return False
        listed = sum(entry.event is Event.RECEIPT for entry in self.timeline)
        return listed >= RECEIPTS_LISTED


class Snapshot(msgspec.Struct, frozen=True):
    """A message as Restate holds it: the order and how far it has come."""

    order: MessageOrder
    record: Record
