"""How Restate repeats what a tenant's own endpoint did not take."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from restate import InvocationRetryPolicy


def for_three_days(first: timedelta, then: Literal["pause", "kill"]) -> InvocationRetryPolicy:
    """Again after `first`, after twice as long each time, at last every hour: 80 tries, which take
    about three days. Then `pause` lets it wait for a person to resume it; `kill` gives it up."""
    return InvocationRetryPolicy(
        initial_interval=first,
        exponentiation_factor=2.0,
        max_interval=timedelta(hours=1),
        max_attempts=80,
        on_max_attempts=then,
    )
