"""The delivery services without Restate in between: what they answer, and when nobody does."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta

import pytest
from restate import Service, TerminalError

from adapters.store.attempts import SqliteAttemptJournal
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.message import Content, Level
from domain.mode import Mode
from handlers.delivery.direct import Direct
from handlers.delivery.email import create_email_delivery
from handlers.delivery.options import REQUEST, SUBMISSION, delivery

TAKEN = Submission(SubmissionState.TAKEN, at=datetime(2026, 5, 1, tzinfo=UTC), level=Level.SENT)
EMAIL = "EmailDelivery"


def request_for(message="msg_1", **more):
    return DeliveryRequest(
        message=message,
        attempt=1,
        tenant="acme",
        to="anna@example.com",
        content=Content("Hello"),
        receipt_ref="ref",
        not_after=datetime.now(UTC) + timedelta(minutes=1),
        **more,
    )


def answering(behave):
    """An e-mail service that does this with a request."""
    service = delivery("email")

    @service.handler(input_serde=REQUEST, output_serde=SUBMISSION)
    async def deliver(ctx, request):
        return await behave(request)

    return service


async def takes(request):
    return TAKEN


def raising(error):
    async def behave(request):
        raise error

    return behave


async def hangs(request):
    await asyncio.Event().wait()


class SlowRelay:
    """Takes each mail once it is told to."""

    def __init__(self):
        self.mails = []
        self.told = asyncio.Event()

    def turn(self):
        return contextlib.nullcontext()

    async def deliver(self, request):
        self.mails.append((request.message, request.attempt))
        await self.told.wait()
        return TAKEN


async def test_a_service_of_this_process_is_asked():
    direct = Direct([answering(takes)])
    assert await direct.deliver(EMAIL, request_for(), 1.0) == TAKEN


async def test_a_service_of_another_process_is_asked_by_its_way():
    direct = Direct(elsewhere={"SmsDelivery": takes})
    assert await direct.deliver("SmsDelivery", request_for(), 1.0) == TAKEN


NO_ANSWER = {
    "refused": OSError("connection refused"),
    "ended by the service": TerminalError("no such thing"),
    "an error of ours": ZeroDivisionError("oh"),
}


@pytest.mark.parametrize("error", NO_ANSWER.values(), ids=NO_ANSWER.keys())
async def test_whoever_gives_no_answer_is_asked_by_restate(error):
    assert await Direct([answering(raising(error))]).deliver(EMAIL, request_for(), 1.0) is None


async def test_a_service_that_nobody_here_knows_is_asked_by_restate():
    assert await Direct([answering(takes)]).deliver("SmsDelivery", request_for(), 1.0) is None


async def test_patience_ends():
    assert await Direct([answering(hangs)]).deliver(EMAIL, request_for(), 0.02) is None


async def test_a_test_message_goes_to_nobody():
    direct = Direct([answering(takes)])
    assert await direct.deliver(EMAIL, request_for(mode=Mode.TEST), 1.0) is None


async def test_cancellation_goes_through():
    asking = asyncio.ensure_future(Direct([answering(hangs)]).deliver(EMAIL, request_for(), 60))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_service_that_gives_no_answer_is_told_of_once(caplog):
    """A pool that refuses our key would else only show in what a message costs."""
    direct = Direct([answering(raising(OSError("the bind pool answered 401")))])
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            await direct.deliver(EMAIL, request_for(f"msg_{number}"), 1.0)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "EmailDelivery" in line
    assert "401" in line


def test_a_service_that_keeps_a_journal_of_restates_may_not_be_asked_directly():
    service = Service("EmailDelivery")

    @service.handler()
    async def deliver(ctx, request: str) -> str:
        return request

    with pytest.raises(ValueError, match="explicit recovery"):
        Direct([service])


async def test_what_was_given_up_is_heard_by_whoever_asks_again_in_this_process(tmp_path):
    attempts, relay = SqliteAttemptJournal(tmp_path / "hermes.db"), SlowRelay()
    direct = Direct([create_email_delivery(relay, attempts)])
    assert await direct.deliver(EMAIL, request_for(), 0.05) is None
    again = asyncio.ensure_future(direct.deliver(EMAIL, request_for(), 5.0))
    relay.told.set()
    assert await again == TAKEN
    assert await direct.deliver(EMAIL, request_for(), 5.0) == TAKEN
    assert relay.mails == [("msg_1", 1)]
    await attempts.close()


async def test_what_was_given_up_is_unknown_to_another_process(tmp_path):
    """Why a channel of this process is not given up before its step's time is over."""
    journals = [SqliteAttemptJournal(tmp_path / "hermes.db") for _ in range(2)]
    relay = SlowRelay()
    here, elsewhere = (Direct([create_email_delivery(relay, each)]) for each in journals)
    assert await here.deliver(EMAIL, request_for(), 0.05) is None
    answer = await elsewhere.deliver(EMAIL, request_for(), 5.0)
    assert answer.state is SubmissionState.UNKNOWN
    relay.told.set()
    assert await here.deliver(EMAIL, request_for(), 5.0) == TAKEN
    assert (await elsewhere.deliver(EMAIL, request_for(), 5.0)) == TAKEN
    assert relay.mails == [("msg_1", 1)]
    for each in journals:
        await each.close()
