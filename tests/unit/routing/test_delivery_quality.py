"""What adapters and Hermes's own services do, as quality."""

from datetime import UTC, datetime, timedelta

import pytest

from adapters.routing.delivery_quality import DeliveryQuality
from domain.delivery import DeliveryRequest, Receipt, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Content, Level
from domain.routing.quality import Quality

NOW = datetime(2027, 1, 15, tzinfo=UTC)
AT = NOW.timestamp()
TWILIO, RELAY = ("adapter:acme/twilio", "45"), ("own:email", "")


def request(message="msg_1", *, channel="sms", provider="twilio", to="+4520123456", attempt=1):
    return DeliveryRequest(
        message=message,
        attempt=attempt,
        tenant="acme",
        to=to,
        content=Content("Hi"),
        receipt_ref="ref",
        not_after=NOW + timedelta(hours=1),
        provider=provider,
        channel=channel,
    )


def answer(state=SubmissionState.TAKEN, code=None):
    failure = None if code is None else Failure(code)
    return Submission(state, at=NOW, begun_at=NOW, provider="twilio", failure=failure)


@pytest.fixture
def quality():
    return Quality()


@pytest.fixture
def counts(quality):
    return DeliveryQuality(quality)


def seen(quality, place, later=0.0):
    return quality.of(*place, AT + later).seen


def test_a_report_counts_with_its_time(quality, counts):
    for n in range(100):
        counts.answered(request(f"msg_{n}"), answer(), "sms")
        receipt = Receipt(1, NOW + timedelta(seconds=9), level=Level.DELIVERED)
        counts.reported(f"msg_{n}", receipt)
    estimate = quality.of(*TWILIO, AT)
    assert (estimate.seen, estimate.rate > 0.98, 8 < estimate.latency < 10) == (100, True, True)


def test_a_report_that_is_repeated_counts_once(quality, counts):
    counts.answered(request(), answer(), "sms")
    for _ in range(3):
        counts.reported("msg_1", Receipt(1, NOW, level=Level.DELIVERED))
    assert seen(quality, TWILIO) == 1


def test_a_report_on_nothing_that_was_handed_over_here_does_not_count(quality, counts):
    counts.reported("msg_1", Receipt(1, NOW, level=Level.DELIVERED))
    assert seen(quality, TWILIO) == 0


def test_what_only_left_the_provider_says_nothing_yet(quality, counts):
    counts.answered(request(), answer(), "sms")
    counts.reported("msg_1", Receipt(1, NOW, level=Level.SENT, final=False))
    assert seen(quality, TWILIO) == 0
    counts.reported("msg_1", Receipt(1, NOW, failure=Failure(FailureCode.RECIPIENT_UNREACHABLE)))
    assert seen(quality, TWILIO, later=1) == 1
    assert quality.of(*TWILIO, AT + 1).rate < 0.9


ANSWERS = {
    "an error of the provider": (SubmissionState.FAILED, FailureCode.PROVIDER_ERROR, 1),
    "nobody knows": (SubmissionState.UNKNOWN, FailureCode.OUTCOME_UNKNOWN, 1),
    "no such number": (SubmissionState.FAILED, FailureCode.RECIPIENT_INVALID, 0),
    "busy": (SubmissionState.BUSY, FailureCode.PROVIDER_THROTTLED, 0),
}


@pytest.mark.parametrize(("state", "code", "counted"), ANSWERS.values(), ids=ANSWERS)
def test_answers(quality, counts, state, code, counted):
    counts.answered(request(), answer(state, code), "sms")
    assert seen(quality, TWILIO) == counted


def test_the_relays_acceptance_is_the_last_that_is_heard(quality, counts):
    mail = request(channel=None, provider=None, to="a@example.com")
    counts.answered(mail, answer(), "email")
    assert seen(quality, RELAY) == 1
    assert quality.of(*RELAY, AT + 1).rate > 0.95


async def test_it_stands_around_whatever_else_does(quality, counts):
    calls = []

    async def charged(request, submit):
        calls.append("charged")
        return await submit(request)

    async def submit(request):
        calls.append("submitted")
        return answer(SubmissionState.FAILED, FailureCode.PROVIDER_ERROR)

    submission = await counts.around(None, charged)(request(), submit)
    assert (calls, submission.state) == (["charged", "submitted"], SubmissionState.FAILED)
    assert seen(quality, TWILIO) == 1
