"""What the workflow's activities do: Hermes's own bind pool and mail relay, with their journals.

The same code on both sides, so that what differs is the engine: an attempt that was begun is never
sent a second time, and a receipt is on disk before the carrier hears that it was taken.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from adapters.email.relay import Relay, RelayAccount
from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.correlator import Correlator
from adapters.smpp.pool import BindPool
from adapters.smpp.store.journal import Journal
from adapters.store.attempts import SqliteAttemptJournal
from domain.delivery import DeliveryRequest, Receipt, Submission, SubmissionState
from domain.message import Content, Level
from domain.ports import EngineRefused, EngineUnavailable
from infra.bench.smsc import account
from infra.local.ports import HOST
from tests.comparison.temporal.cascade import DELIVERED, FAILED, SENT, Attempt, Cascade

_TENANT = "acme"
_SMS, _EMAIL = 1, 2
"""The numbers of a message's attempts."""


class Signals:
    """Brings receipts to their workflows; the reference is the workflow's id. See
    `adapters.smpp.correlator.ReceiptSink`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def resolve(self, ref: str, receipt: Receipt) -> None:
        try:
            await self._client.get_workflow_handle(ref).signal(Cascade.receipt, _said(receipt))
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise EngineRefused("the workflow has ended") from error
            raise EngineUnavailable(str(error)) from error

    async def report(self, message_id: str, receipt: Receipt) -> None:
        """A further report changes nothing in this cascade."""


class Channels:
    """The two channels and what they remember. Made on a running event loop."""

    def __init__(self, directory: Path, client: Client, *, smsc: int, mail: int) -> None:
        self._journal = Journal(directory / "smpp.db")
        self._attempts = SqliteAttemptJournal(directory / "hermes.db")
        self._correlator = Correlator(self._journal, Signals(client))
        carrier = CarrierConfig.model_validate(account("simulator", smsc))
        self._pool = BindPool([carrier], self._journal, self._correlator)
        sender = "Hermes <no-reply@example.com>"
        self._relay = Relay(RelayAccount(HOST, mail, sender, "example.com", tls="none"))

    async def recover(self) -> None:
        """Take up the receipts that the process before stored and did not forward."""
        await self._correlator.recover()

    async def close(self) -> None:
        """Unbind, and close the journals."""
        await self._pool.close()
        await self._correlator.close()
        await self._journal.close()
        await self._attempts.close()

    @activity.defn
    async def submit_sms(self, attempt: Attempt) -> str:
        """Submit it once. What may have been sent counts as sent: a receipt may still come."""
        order = attempt.order
        return _answer(await self._pool.deliver(_request(attempt, _SMS, order.sms)))

    @activity.defn
    async def send_mail(self, attempt: Attempt) -> str:
        """Hand it to the relay once."""
        request = _request(attempt, _EMAIL, attempt.order.email)
        async with self._relay.turn():
            if not await self._attempts.begin(request.message, request.attempt):
                return _answer(await self._attempts.outcome(request.message, request.attempt))
            submission = await self._relay.deliver(request)
        await self._attempts.settle(request.message, request.attempt, submission)
        return _answer(submission)


def _request(attempt: Attempt, number: int, to: str) -> DeliveryRequest:
    order = attempt.order
    return DeliveryRequest(
        message=order.message,
        attempt=number,
        tenant=_TENANT,
        to=to,
        content=Content(order.text, order.subject),
        receipt_ref=order.message,
        with_receipt=True,
        not_after=datetime.fromtimestamp(attempt.not_after, UTC),
    )


def _answer(submission: Submission) -> str:
    """Raises ApplicationError for a provider that is busy: Temporal tries again."""
    if submission.state is SubmissionState.BUSY:
        raise ApplicationError("busy")
    if submission.receipt is not None:
        return _said(submission.receipt)
    return FAILED if submission.state is SubmissionState.FAILED else SENT


def _said(receipt: Receipt) -> str:
    return DELIVERED if receipt.level is Level.DELIVERED else FAILED
