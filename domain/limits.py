"""How much a tenant may send: rates, caps a recipient, a quota a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from domain.message import Category

DAY: Final = 86_400.0

_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=31 * DAY)]


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most `count` messages in `seconds`. All of them may come at once; each makes room again
    for one `seconds / count` later, so within any `seconds` there are never twice as many."""

    count: _Count
    seconds: _Seconds

    @property
    def interval(self) -> float:
        """Seconds after which there is room for one more."""
        return self.seconds / self.count


class RateLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tenant's limits; None sets none.

    `tenant` holds for all messages of the tenant together, `key` for those of each API key,
    `recipient` for those to one address of a channel, by category, as `{"otp": {"count": 5,
    "seconds": 3600}}`: an OTP that somebody asks for over and over costs the tenant money and the
    person its sleep. `daily` is the number of messages a day, which ends at midnight UTC; messages
    count from the moment on when there is a quota, so that on its first day those before do not.

    `daily` is the tenant's, whatever the number of API processes. The others are counted in each
    API process by itself: with two behind one address, `tenant` is half of what both may take.
    """

    tenant: Cap | None = None
    key: Cap | None = None
    recipient: dict[Category, Cap] = {}
    daily: _Count | None = None


NO_LIMITS: Final = RateLimits()


def day_of(now: datetime) -> str:
    """The day that a message of this time counts for."""
    return now.astimezone(UTC).date().isoformat()


def day_ends_in(now: datetime) -> float:
    """Seconds until the next day's quota begins."""
    utc = now.astimezone(UTC)
    midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - utc).total_seconds()
