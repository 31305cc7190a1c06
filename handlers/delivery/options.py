"""How every delivery service is registered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from restate import Service, TerminalError
from restate._preview import explicit_recovery

from adapters.restate.serde import JsonSerde
from adapters.under_way import UnderWay
from domain.delivery import (
    ADAPTER_SERVICE,
    AttemptRef,
    DeliveryRequest,
    Submission,
    delivery_service,
)
from domain.mode import Mode

Attempts = UnderWay[tuple[str, int], Submission]
"""The attempts that are being handed over, by message and number."""


class LiveRequests(JsonSerde[DeliveryRequest]):
    """Requests as every service reads them that has a provider behind it.

    Here, once for all of them, a test message ends that took a wrong turn: the cascade sends it to
    the sandbox, and nothing else may hand it on. Raises TerminalError(403).
    """

    def __init__(self) -> None:
        super().__init__(DeliveryRequest)

    def deserialize(self, buf: bytes) -> DeliveryRequest | None:
        """The request, if it is meant for a person."""
        request = super().deserialize(buf)
        if request is not None and request.mode is not Mode.LIVE:
            raise TerminalError("a test message reaches no provider", status_code=403)
        return request


REQUEST: JsonSerde[DeliveryRequest] = LiveRequests()
SUBMISSION: JsonSerde[Submission] = JsonSerde(Submission)
ATTEMPT_REF: JsonSerde[AttemptRef] = JsonSerde(AttemptRef)


def delivery(channel: str | None) -> Service:
    """A channel's delivery service; None for the one in front of all adapters.

    Nothing of a completed call is kept: its answer is in the message's own journal. The long
    inactivity timeout keeps Restate from interrupting a provider that is slow to answer. Only
    the cascade may call it.

    A call that is repeated starts over. Its journal would hold nothing but the answer, and an
    answer that Restate wrote down just before it crashed would be compared with the next one,
    which has other times in it: a mismatch, for ever. What was sent, the channel's own journal
    knows.
    """
    name = ADAPTER_SERVICE if channel is None else delivery_service(channel)
    options: dict[str, Any] = {
        "journal_retention": timedelta(0),
        "idempotency_retention": timedelta(0),
        "inactivity_timeout": timedelta(minutes=2),
        "ingress_private": True,
    }
    return explicit_recovery(Service(name, **options))
