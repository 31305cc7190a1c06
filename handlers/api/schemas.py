"""What clients send: the request bodies, as pydantic models, which are also their documentation.

Only the shape is checked here; what the channels, the clock and the tenant have to say about it
is checked in `orders`. Bodies are strict JSON: no coercion, no unknown fields.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from domain.failures import FailureCode
from domain.message import MAX_TTL, MIN_STEP_TIMEOUT, Category, DeliveryPolicy, Level

MAX_STEPS = 10
LOCALE = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$"
MAX_METADATA = 20
MAX_BATCH = 1000

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)


def _rfc3339(value: Any) -> Any:
    """Refuse pydantic's other readings of a time: numbers, dates, times without an offset."""
    if not isinstance(value, str) or _RFC3339.match(value) is None:
        raise PydanticCustomError("datetime_parsing", "Not RFC 3339 with an offset.")
    return value


# Lax inside: a strict datetime does not take the text that a validator hands on.
Rfc3339 = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_rfc3339)]

Seconds = Annotated[float, Field(ge=MIN_STEP_TIMEOUT.total_seconds(), le=MAX_TTL.total_seconds())]
ChannelName = Annotated[str, Field(min_length=1, max_length=32)]


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class TemplateBody(_Body):
    """A message that the provider keeps: WhatsApp's approved templates."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    language: Annotated[str, Field(min_length=2, max_length=16)] = Field(examples=["en_US"])
    parameters: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=100)] = (
        Field(default=[], description="What fills the places in its text, in order.")
    )


class ContentBody(_Body):
    """What the recipient gets. Each channel uses the fields that it can carry."""

    text: str = Field(description="Plain text: the SMS, or the email's text part.")
    subject: str | None = Field(
        None, description="The email's subject; without one, the text's first line is taken."
    )
    html: str | None = Field(None, description="The email's HTML part.")
    template: TemplateBody | None = Field(
        None, description="WhatsApp sends this template instead of the text."
    )
    data: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=100)],
            Annotated[str, Field(max_length=4096)],
        ],
        Field(max_length=50),
    ] = Field(default_factory=dict, description="For the app that a push reaches.")


class StepBody(_Body):
    """One channel of the cascade; what is left out takes the channel's default."""

    channel: ChannelName = Field(description="A key of `to`.", examples=["sms"])
    timeout: Seconds | None = Field(
        None, description="Seconds until the next step begins, unless this one succeeds."
    )
    success: Level | None = Field(
        None, description="The level that ends the cascade; the channel must be able to prove it."
    )
    failover_on: Annotated[list[FailureCode], Field(max_length=len(FailureCode))] | None = Field(
        None,
        description="Failures that begin the next step at once, besides the permanent ones; "
        "left out, every failure that is final for the attempt does.",
    )
    provider: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The adapter or carrier to take, instead of Hermes's choice."
    )
    sender: Annotated[str, Field(min_length=1, max_length=320)] | None = Field(
        None, description="Who the recipient sees: a name or number for SMS, a From for email."
    )


class AboutRecipientBody(_Body):
    """What the client knows about the recipient, and Hermes would have to guess."""

    locale: Annotated[str, Field(pattern=LOCALE)] | None = Field(
        None, description="The recipient's language: BCP 47.", examples=["da-DK"]
    )
    time_zone: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="Where the recipient's clock stands, by its IANA name. Left out, the number's "
        "country tells, or the tenant's settings.",
        examples=["Europe/Copenhagen"],
    )


class DedupBody(_Body):
    """Refuse what was sent before, besides the idempotency key."""

    window: Annotated[int, Field(ge=1, le=86_400)] = Field(
        description="Seconds within which the same content to the same addresses is refused with "
        "`duplicate_content`."
    )


class TemplateUseBody(_Body):
    """Make the content from one of your templates, in the place of `content`."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(examples=["table-ready"])
    version: Annotated[int, Field(ge=1, le=2**31)] | None = Field(
        None, description="Left out, the active one. The message keeps it either way."
    )
    language: Annotated[str, Field(pattern=LOCALE)] | None = Field(
        None,
        description="Left out, the recipient's `locale`. Where the template has not da-DK it is "
        "rendered in da, and where it has not that, in its default language.",
        examples=["da-DK"],
    )
    variables: Annotated[dict[str, Any], Field(max_length=100)] = Field(
        default_factory=dict,
        description="A value for each variable: of its type, as the template declares it.",
        examples=[{"name": "Anna", "day": "2026-01-31"}],
    )


class MessageBody(_Body):
    """One message to one recipient, on as many channels as it takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "to": {"sms": "+4520123456", "email": "anna@example.com"},
                    "content": {"text": "Your table is ready.", "subject": "Your table"},
                    "plan": [
                        {"channel": "sms", "timeout": 60, "success": "delivered"},
                        {"channel": "email", "timeout": 300, "success": "sent"},
                    ],
                    "ttl": 3600,
                    "metadata": {"order": "1234"},
                }
            ]
        }
    )

    to: Annotated[dict[ChannelName, Annotated[str, Field(max_length=512)]], Field(min_length=1)] = (
        Field(
            description="The recipient's address on each channel: `sms` and `whatsapp` take "
            "E.164 with a leading +, `email` an address, `push` the app's registration token.",
        )
    )
    content: ContentBody | None = Field(
        None, description="What the recipient gets, unless a `template` says it."
    )
    template: TemplateUseBody | None = None
    plan: Annotated[list[StepBody], Field(min_length=1, max_length=MAX_STEPS)] | None = Field(
        None,
        description="The cascade, in order. A channel may come more than once. Left out, every "
        "channel of `to` is tried once (sms, whatsapp, push, email), within the TTL.",
    )
    ttl: Seconds | None = Field(
        None,
        description="Seconds after acceptance (or after `send_at`) when the message expires. "
        "10 minutes for `otp` and 24 hours otherwise.",
    )
    send_at: Rfc3339 | None = Field(
        None, description="When to begin: RFC 3339 with an offset, at most 35 days ahead."
    )
    category: Category = Field(Category.TRANSACTIONAL, description="Why the message is sent.")
    delivery_policy: DeliveryPolicy = Field(
        DeliveryPolicy.AT_LEAST_ONCE,
        description="What to do with an attempt whose outcome cannot be known: send again, "
        "flagged as a possible duplicate, or never send again on that channel.",
    )
    status_callback: str | None = Field(
        None, description="An https URL that is told how the message ended."
    )
    recipient: AboutRecipientBody | None = None
    dedup: DedupBody | None = Field(
        None, description="Left out, the tenant's settings count; without any, nothing is refused."
    )
    metadata: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=40)],
            Annotated[str, Field(max_length=500)],
        ],
        Field(max_length=MAX_METADATA),
    ] = Field(
        default_factory=dict, description="Your own labels, returned and filtered by, never sent."
    )


class BatchBody(_Body):
    """Several messages in one request; each is accepted or refused on its own."""

    messages: Annotated[list[MessageBody], Field(min_length=1, max_length=MAX_BATCH)]
