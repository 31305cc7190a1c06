"""The contract between the cascade and the channels: a request, its answer, and the receipts."""

from __future__ import annotations

from enum import Enum

import msgspec

from domain.billing.cost import Cost
from domain.enrichment import Recipient
from domain.failures import Failure
from domain.message import Category, Content, DeliveryPolicy, Level, Moment
from domain.mode import Mode
from domain.routing.choice import RouteChoice


class DeliveryRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hand one message to one provider of one channel, once.

    (`message`, `attempt`) identifies the attempt for ever: a handler that meets the same pair
    again answers what became of it and never sends a second time. `receipt_ref` is the Restate
    awakeable that takes the attempt's `Signal`s. Nothing may be sent after `not_after`. `since` is
    when the message began its way, on its first request only: how long that took tells how far
    behind Restate is. `channel` is stated where one service has several: to adapters and to the
    sandbox. `tries` counts the step's requests, this one included. One whose `mode` is test is for
    the sandbox: every other delivery service refuses it. `with_receipt` lets the answer wait a
    moment for the receipt and bring it along: only the receipt settles the step. `recipient` is
    what is known of the number, for the choice of a carrier. `carriers` limits that choice, where
    the tenant cannot pay for the others; none limit nothing.
    """

    message: str
    attempt: int
    tenant: str
    to: str
    content: Content
    receipt_ref: str
    not_after: Moment
    category: Category = Category.TRANSACTIONAL
    policy: DeliveryPolicy = DeliveryPolicy.AT_LEAST_ONCE
    provider: str | None = None
    sender: str | None = None
    since: Moment | None = None
    channel: str | None = None
    tries: int = 1
    mode: Mode = Mode.LIVE
    with_receipt: bool = False
    recipient: Recipient | None = None
    carriers: tuple[str, ...] = ()


class AttemptRef(msgspec.Struct, frozen=True):
    """Names one attempt of one message."""

    message: str
    attempt: int


class SubmissionState(str, Enum):
    """What is known when the delivery handler answers."""

    TAKEN = "taken"  # the provider has it; `level` says how far
    FAILED = "failed"  # it was not sent, for `failure`
    BUSY = "busy"  # it was not sent; ask again after `retry_after` seconds
    UNKNOWN = "unknown"  # it may have been sent: the answer was lost


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delivery handler's answer.

    `at` is when the outcome was known, by the clock of the process that talked to the provider.
    `provider_ids` are the provider's own ids, one for each `segments` where the channel splits.
    `cost` is what the attempt costs, None where nothing has a price.
    `receipt` came before the answer was given, and is told in no other way. `route` says why the
    provider was chosen, where there was a choice.
    """

    state: SubmissionState
    at: Moment
    begun_at: Moment | None = None
    provider: str | None = None
    level: Level | None = None
    provider_ids: tuple[str, ...] = ()
    segments: int | None = None
    failure: Failure | None = None
    retry_after: float | None = None
    receipt: Receipt | None = None
    cost: Cost | None = None
    route: RouteChoice | None = None


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True, tag="receipt", tag_field="signal"):
    """What a provider reports about an attempt after it took it.

    Exactly one of `level` (it came this far) and `failure` is set. `provider_status` is the
    provider's own word for it. `id` tells a repeated report from a new one. `final` says that the
    provider has nothing more to report.
    """

    attempt: int
    at: Moment
    level: Level | None = None
    failure: Failure | None = None
    provider: str | None = None
    provider_status: str | None = None
    id: str | None = None
    final: bool = True


class Cancel(msgspec.Struct, frozen=True, omit_defaults=True, tag="cancel", tag_field="signal"):
    """The client withdraws the message."""

    at: Moment


Signal = Receipt | Cancel
"""What can resolve an awakeable of the cascade."""


ADAPTER_SERVICE = "AdapterDelivery"
"""The Restate service in front of every adapter."""
SANDBOX_SERVICE = "SandboxDelivery"
"""The Restate service that takes every message of a test key, whatever its channel."""


def delivery_service(channel: str) -> str:
    """The Restate service of a channel that Hermes serves itself: `sms` → `SmsDelivery`."""
    return f"{channel.capitalize()}Delivery"
