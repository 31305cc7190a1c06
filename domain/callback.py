"""The status callback: what a tenant's endpoint is told when a message ends."""

from __future__ import annotations

from datetime import datetime

import msgspec

from domain.failures import FailureCode
from domain.message import Level, MessageOrder
from domain.timeline import Record, Status


class MessageEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """`data` of the event."""

    id: str
    status: Status
    channel: str | None = None
    level: Level | None = None
    failure: FailureCode | None = None
    metadata: dict[str, str] = {}


class CallbackEvent(msgspec.Struct, frozen=True):
    """The body, as Standard Webhooks recommends it: type, timestamp, data."""

    type: str
    timestamp: datetime
    data: MessageEnded


class StatusCallback(msgspec.Struct, frozen=True):
    """One callback to deliver. `id` is the same for every repetition."""

    id: str
    tenant: str
    url: str
    event: CallbackEvent


def callback_for(message: str, order: MessageOrder, record: Record) -> StatusCallback:
    """The callback for a message that has ended. The order must have asked for one."""
    assert order.status_callback is not None
    assert record.ended_at is not None
    ended = MessageEnded(
        id=message,
        status=record.status,
        channel=record.channel,
        level=record.level,
        failure=None if record.failure is None else record.failure.code,
        metadata=order.metadata,
    )
    return StatusCallback(
        id=f"{message}.ended",
        tenant=order.tenant,
        url=order.status_callback,
        event=CallbackEvent(f"message.{record.status.value}", record.ended_at, ended),
    )
