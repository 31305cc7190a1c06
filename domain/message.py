"""What a client asks for, in the one form that every door translates into.

All types here travel through Restate's journal as JSON, so a change must stay readable for
messages that are already on their way: add fields with defaults, never rename one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Final

import msgspec

from domain.enrichment import Recipient
from domain.mode import Mode
from domain.routing.choice import RouteChoice
from domain.verdict import Verdict

MAX_TTL = timedelta(days=7)
MAX_SCHEDULE_AHEAD = timedelta(days=35)
MIN_STEP_TIMEOUT = timedelta(seconds=1)


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time. One that is written without an offset from UTC is refused on the way in."""


class Level(str, Enum):
    """How far a message is known to have come. Each level implies those before it."""

    ACCEPTED = "accepted"  # a provider queued it
    SENT = "sent"  # the carrier or mail relay took it over
    DELIVERED = "delivered"  # a receipt proves that it arrived
    READ = "read"  # the recipient opened it

    def reaches(self, wanted: Level) -> bool:
        """True when this level is `wanted` or beyond it."""
        return _RANK[self] >= _RANK[wanted]


_RANK = {level: rank for rank, level in enumerate(Level)}


class Category(str, Enum):
    """Why the message is sent; decides priority, default TTL and later the compliance rules."""

    OTP = "otp"
    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


DEFAULT_TTL = {
    Category.OTP: timedelta(minutes=10),
    Category.TRANSACTIONAL: timedelta(hours=24),
    Category.MARKETING: timedelta(hours=24),
}


class DeliveryPolicy(str, Enum):
    """What to do with an attempt whose outcome cannot be known."""

    AT_LEAST_ONCE = "at_least_once"  # send again, flagged as a possible duplicate
    AT_MOST_ONCE = "at_most_once"  # never send again on that channel, go on to the next


class Template(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A message that the provider keeps under `name`, in `language` (as in `en_US`); `parameters`
    fill the places in its text, in order."""

    name: str
    language: str
    parameters: tuple[str, ...] = ()


class Variant(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one channel carries in the place of the message's text, its subject, or both."""

    text: str | None = None
    subject: str | None = None


class Content(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the recipient gets. Each channel uses the fields that it can carry: `template` goes
    before `text` on WhatsApp, `data` is for the app that a push reaches. `variants` are those of
    channels that carry something else; never SMS, whose text is always `text`."""

    text: str
    subject: str | None = None
    html: str | None = None
    template: Template | None = None
    data: dict[str, str] = {}
    variants: dict[str, Variant] = {}

    def on(self, channel: str) -> Content:
        """The content as one channel carries it."""
        if not self.variants:
            return self
        own = self.variants.get(channel) or Variant()
        return msgspec.structs.replace(
            self,
            text=self.text if own.text is None else own.text,
            subject=self.subject if own.subject is None else own.subject,
            variants={},
        )


class TemplateUse(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The version of a tenant's own template that a message was made from, and in which of its
    languages."""

    name: str
    version: int
    language: str


NO_CONTENT = Content(text="")
"""In the place of content that is no longer needed: it may hold a one-time password."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One channel of the cascade.

    `timeout` counts in seconds from the moment the step begins; without success by then the next
    step begins. `success` is the level that ends the cascade. `failover_on` lists the failure
    codes that end the step at once besides the permanent ones; None means every failure that is
    final for the attempt. `provider` is the one that the client named; `adapters` those that may be
    tried, in this order, an empty name standing for the channel's own service. Without any, it is
    the channel's own service, or whichever adapter the tenant has. `route` is why they stand in
    this order.
    """

    channel: str
    timeout: float
    success: Level
    failover_on: tuple[str, ...] | None = None
    provider: str | None = None
    sender: str | None = None
    adapters: tuple[str, ...] = ()
    route: RouteChoice | None = None


INTERRUPTING: Final = frozenset(("sms", "whatsapp", "push"))
"""Channels that make a telephone ring: quiet hours are for these. A mail waits to be read."""


class Quiet(msgspec.Struct, frozen=True, array_like=True):
    """A time in which the recipient's telephone is to be left alone."""

    start: Moment
    end: Moment


class MessageOrder(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A whole message, checked and with every default filled in.

    `to` maps a channel to the recipient's address on it. `accepted_at` is when the API took
    the message; `expires_at` the end of its TTL. `fingerprint` is a SHA-256 over the request as
    the client sent it and tells a repeated request from a different one under the same
    idempotency key. `fresh` says that nobody can have handed the message over before: its id is
    new, or guarded by an idempotency key of Restate's. `verdicts` are what the layers of the
    pipeline found, and `recipient` what is known about whom it is for. A step on one of the
    INTERRUPTING channels whose turn comes in one of the `quiet` times waits for its end.
    `tell` are the callback events before the end that an endpoint of the tenant wants
    (`domain.callback.PROGRESS`); a message that nobody follows so closely has none and does no work
    for it. A `reply` answers the recipient's own STOP, START or HELP: it is sent although he is on
    a list, as long as it takes. `direct` lets a step's first attempt go to its channel without a
    call of Restate's.
    """

    tenant: str
    to: dict[str, str]
    content: Content
    plan: tuple[Step, ...]
    accepted_at: Moment
    expires_at: Moment
    send_at: Moment | None = None
    category: Category = Category.TRANSACTIONAL
    policy: DeliveryPolicy = DeliveryPolicy.AT_LEAST_ONCE
    status_callback: str | None = None
    metadata: dict[str, str] = {}
    fingerprint: str | None = None
    trace_id: str | None = None
    template: TemplateUse | None = None
    tell: tuple[str, ...] = ()
    mode: Mode = Mode.LIVE
    fresh: bool = False
    verdicts: tuple[Verdict, ...] = ()
    recipient: Recipient | None = None
    quiet: tuple[Quiet, ...] = ()
    reply: bool = False
    direct: bool = False

    def quiet_until(self, channel: str, moment: datetime) -> datetime | None:
        """When a channel may be used, if it may not be at this moment."""
        if channel in INTERRUPTING:
            for quiet in self.quiet:
                if quiet.start <= moment < quiet.end:
                    return quiet.end
        return None
