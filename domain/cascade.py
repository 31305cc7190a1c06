"""The cascade's rules, as pure functions: what a failure, a delay or an end means."""

from __future__ import annotations

from datetime import timedelta

from domain.failures import Failure, FailureCode
from domain.message import Level, Step
from domain.timeline import Status

UNKNOWN_GRACE = timedelta(seconds=3)
"""How long a receipt may settle an attempt whose submission was never answered, before the
message's delivery policy decides. Long enough for a bind to come back, short enough for an OTP."""

MAX_RESENDS = 2
"""How often a step sends again after an unknown outcome: a provider that swallows every answer
must not make the recipient's phone ring for ever."""

_FIRST_RETRY = 0.5
_LAST_RETRY = 30.0


def fails_over(step: Step, failure: Failure) -> bool:
    """True when `failure` ends the step at once instead of at its timeout."""
    if failure.permanent or step.failover_on is None:
        return True
    return failure.code.value in step.failover_on


def leaves(step: Step, failure: Failure) -> bool:
    """True when the step itself says that `failure` ends it, whichever other providers it has."""
    return step.failover_on is not None and failure.code.value in step.failover_on


def retries_submission(step: Step, failure: Failure) -> bool:
    """True when a submission that failed may be tried again within the step.

    Unlike a receipt, a temporary failure to submit says nothing about the recipient, so the step
    keeps trying until its timeout unless its `failover_on` names the code.
    """
    if failure.permanent:
        return False
    return not leaves(step, failure)


def retry_delay(tries: int, retry_after: float | None) -> timedelta:
    """How long to wait after `tries` (≥ 1) fruitless submissions.

    The provider's wish counts for the first ones; whoever keeps refusing is asked ever less
    often, from 0.5 s doubling up to 30 s.
    """
    backoff = min(_FIRST_RETRY * 2 ** min(tries - 1, 10), _LAST_RETRY)
    if retry_after is None:
        return timedelta(seconds=backoff)
    return timedelta(seconds=max(min(retry_after, _LAST_RETRY), backoff / 2))


def status_when_reached(level: Level) -> Status:
    """The status of a message whose plan succeeded at `level`."""
    return Status.DELIVERED if level.reaches(Level.DELIVERED) else Status.SENT


def status_when_exhausted(level: Level | None, failure: Failure | None) -> Status:
    """The status of a message whose last step ended without the success that it asked for.

    Proof of delivery counts even where the plan had hoped for more (`read`).
    """
    if level is not None and level.reaches(Level.DELIVERED):
        return Status.DELIVERED
    if failure is not None and failure.code in (FailureCode.TTL_EXPIRED, FailureCode.TOO_LATE):
        return Status.EXPIRED
    return Status.FAILED


def status_when_barred(level: Level | None, failure: Failure) -> Status | None:
    """The status of a message that may not be sent now; None when its next step may still be.

    A recipient is left alone on one channel, a suspended tenant sends nothing on any. Proof of
    delivery counts all the same.
    """
    if failure.code is not FailureCode.ACCOUNT_SUSPENDED:
        return None
    return status_when_exhausted(level, failure)
