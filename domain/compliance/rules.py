"""A tenant's settings for compliance."""

from __future__ import annotations

from typing import Annotated

import msgspec

from domain.compliance.quiet_hours import QuietHours, zone
from domain.content_rules import Action

TimeZone = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z][\w+/-]*$",
        description="An IANA time zone.",
        examples=["Europe/Copenhagen"],
    ),
]
"""An IANA time zone, such as Europe/Copenhagen."""

MARKETING_NIGHT = QuietHours("21:00", "08:00")
"""47 CFR 64.1200(c)(1), the strictest law of wide reach: no calls before 8 or after 21, by the
clock at the recipient's."""


class ComplianceRules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`marketing` and `transactional` are the quiet hours of these categories, None for none; a
    one-time password never waits. Some countries' law goes further and counts besides.

    `time_zone` counts where the recipient's address does not tell one. `senders` says what
    becomes of an SMS with a sender that is not one of the tenant's approved ones; what a country
    forbids is refused in any case. `opt_out_hint` says what becomes of marketing by SMS that does
    not say how to end it.
    """

    marketing: QuietHours | None = MARKETING_NIGHT
    transactional: QuietHours | None = None
    time_zone: TimeZone | None = None
    senders: Action = Action.ALLOW
    opt_out_hint: Action = Action.FLAG

    def __post_init__(self) -> None:
        """Raises ValueError for a time zone that does not exist."""
        if self.time_zone is not None and zone(self.time_zone) is None:
            raise ValueError("there is no such IANA time zone")
