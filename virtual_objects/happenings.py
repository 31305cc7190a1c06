"""What a message that waits may meet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.delivery import Cancel, Receipt, Submission
from domain.failures import Failure
from domain.timeline import Status


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step's time is over."""

    at: datetime


@dataclass(frozen=True, slots=True)
class PauseOver:
    """The wait before another submission is over; `busy` when the last one was not taken up."""

    busy: bool


@dataclass(frozen=True, slots=True)
class Barred:
    """What was to be sent may not be sent any more."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class EndedBefore:
    """The log has the message's end: the process that wrote it died before Restate heard of it."""

    status: Status


Happening = Submission | Receipt | Cancel | TimedOut | PauseOver | Barred | EndedBefore
