"""The cascade as a Temporal workflow: SMS, its receipt, a timeout, and e-mail instead.

One workflow a message. What talks to providers are activities, by name; a receipt is a signal, or
comes with the submission's answer if that was quick.

The activities are local ones: each is one event of the history, and not three with a task queue
between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

TASK_QUEUE = "cascade"
DELIVERED = "delivered"
SENT = "sent"
FAILED = "failed"

_ONE_TRY = timedelta(seconds=5)
_BUSY = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_interval=timedelta(seconds=30))


@dataclass(frozen=True)
class Order:
    """A message: where it may go, and the seconds that each step may take."""

    message: str
    sms: str
    email: str
    subject: str
    text: str
    sms_timeout: float
    email_timeout: float


@dataclass(frozen=True)
class Attempt:
    """What an activity is to send, and until when (seconds since the epoch)."""

    order: Order
    not_after: float


@workflow.defn
class Cascade:
    """One message on its way: ends with how far it came."""

    def __init__(self) -> None:
        self._report: str | None = None

    @workflow.signal
    def receipt(self, report: str) -> None:
        """Take the carrier's final word on the SMS."""
        self._report = self._report or report

    @workflow.run
    async def run(self, order: Order) -> str:
        """Walk through the two steps."""
        if await self._by_sms(order):
            return DELIVERED
        return SENT if await self._by_email(order) else FAILED

    async def _by_sms(self, order: Order) -> bool:
        until = workflow.time() + order.sms_timeout
        answer = await self._try("submit_sms", Attempt(order, until))
        if answer in (DELIVERED, FAILED):
            return answer == DELIVERED
        if self._report is None:
            left = max(until - workflow.time(), 0.0)
            try:
                await workflow.wait_condition(lambda: self._report is not None, timeout=left)
            except TimeoutError:
                return False
        return self._report == DELIVERED

    async def _by_email(self, order: Order) -> bool:
        until = workflow.time() + order.email_timeout
        return await self._try("send_mail", Attempt(order, until)) == SENT

    async def _try(self, activity: str, attempt: Attempt) -> str:
        try:
            answer: str = await workflow.execute_local_activity(
                activity,
                attempt,
                result_type=str,
                start_to_close_timeout=_ONE_TRY,
                schedule_to_close_timeout=timedelta(minutes=5),
                retry_policy=_BUSY,
            )
        except ActivityError:
            return FAILED
        return answer
