"""What puts an address on a list by itself, and what must not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.suppression.automatic import AutomaticSuppression
from adapters.wasm import reference
from adapters.wasm.contract import Report, Reported, ReportedFailure, Webhook
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.inbound import Routes
from domain.message import Content, Level, MessageOrder, Step
from domain.suppression import Reason, is_hard_bounce
from handlers.reports import WebhookCall, told
from tests.fakes import FakeLog
from tests.unit.suppression.conftest import World

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = bytes(32)
MAIL, PHONE = "anna@example.com", "+4520123456"
MESSAGE = "msg_01JG3T5C8VE7Q9X2B4N6M8P0RS"
INVALID = FailureCode.RECIPIENT_INVALID
NOBODY = Failure(INVALID, "550", "5.1.1 no such user")


@pytest.mark.parametrize(
    ("channel", "code", "detail", "bounced"),
    [
        ("email", INVALID, "5.1.1 no such user", True),
        ("email", INVALID, "5.1.10 null MX", True),
        ("email", INVALID, "5.1.2 no such host", True),
        ("email", INVALID, "5.1.6 moved", True),
        # As a provider passes on what the recipient's server said.
        ("email", INVALID, "550 5.1.1 no such user", True),
        ("email", INVALID, "550-5.1.1 no such user", True),
        # 550 alone proves nothing.
        ("email", INVALID, None, False),
        ("email", INVALID, "no such user", False),
        ("email", INVALID, "relay not permitted", False),
        ("email", INVALID, "Sender verify failed", False),
        ("email", INVALID, "SPF check failed", False),
        ("email", INVALID, "This message was classified as SPAM", False),
        # The sender's fault, and the way's.
        ("email", INVALID, "5.1.7 Bad sender address syntax", False),
        ("email", INVALID, "5.1.8 Sender address rejected: Domain not found", False),
        ("email", INVALID, "5.1.9 relayed to a mailer that is not compliant", False),
        ("email", INVALID, "5.1.0 sender denied", False),
        # Policies, which come as 550, too.
        ("email", INVALID, "5.7.1 blocked by policy", False),
        ("email", INVALID, "550 5.7.1 blocked by policy", False),
        ("email", INVALID, "mx.example 5.1.1", False),
        ("email", INVALID, "5.1.1.2 is an address", False),
        ("email", INVALID, "5.2.2 mailbox full", False),
        ("email", FailureCode.RECIPIENT_UNREACHABLE, "5.1.1", False),
        ("email", FailureCode.CONTENT_REJECTED, "5.1.1", False),
        ("sms", INVALID, None, False),
        ("push", INVALID, None, False),
    ],
)
def test_what_a_hard_bounce_is(channel, code, detail, bounced):
    assert is_hard_bounce(channel, Failure(code, "550", detail)) is bounced


@pytest.mark.parametrize(
    ("status", "bounced"), [("5.1.1", True), ("5.1.10", True), ("5.1.8", False), ("5.0.0", False)]
)
def test_a_provider_that_gives_the_enhanced_code_by_itself(status, bounced):
    assert is_hard_bounce("email", Failure(INVALID, status, "Bounced Address")) is bounced


def request(channel: str | None = None) -> DeliveryRequest:
    return DeliveryRequest(
        MESSAGE, 1, "acme", MAIL, Content("Hi"), "", not_after=NOW, channel=channel
    )


def answer(state: SubmissionState, failure: Failure | None) -> Submission:
    return Submission(state, at=NOW, failure=failure)


@pytest.mark.parametrize(
    ("channel", "submission", "reasons"),
    [
        ("email", answer(SubmissionState.FAILED, NOBODY), [Reason.HARD_BOUNCE]),
        ("email", answer(SubmissionState.FAILED, Failure(INVALID, "550", "refused")), []),
        ("push", answer(SubmissionState.FAILED, NOBODY), []),
        ("email", answer(SubmissionState.UNKNOWN, NOBODY), []),
        ("email", answer(SubmissionState.TAKEN, None), []),
    ],
)
async def test_a_delivery_that_bounces(world: World, channel, submission, reasons):
    async def pass_on(request, submit):
        return await submit(request)

    async def submit(_request):
        return submission

    automatic = AutomaticSuppression(world.store, FakeLog())
    assert await automatic.around(None, pass_on)(request(channel), submit) is submission
    assert [entry.reason for entry in world.store.page("acme", 5)] == reasons


async def test_a_database_that_is_away_fails_no_delivery(world: World, caplog):
    class Away:
        def entry(self, *_args, **_options):
            raise OSError("away")

    async def pass_on(request, submit):
        return await submit(request)

    async def submit(_request):
        return answer(SubmissionState.FAILED, NOBODY)

    automatic = AutomaticSuppression(Away(), FakeLog())
    submission = await automatic.around("email", pass_on)(request(), submit)
    assert submission.state is SubmissionState.FAILED
    assert "was not noted" in caplog.text


def reported(**said) -> list[tuple[str, Reason]]:
    ref = reference.mint(KEY, "acme", "sendgrid", MESSAGE, 1, "ab" * 32)
    webhook = Webhook("POST", {}, "application/json", "")
    call = WebhookCall("acme", "sendgrid", webhook, NOW)
    report = Report(**{"id": "e1", "final": True, "reference": ref, **said})
    return told(call, Reported((report,)), KEY, Routes()).unwanted


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"level": Level.DELIVERED, "opt_out": "complaint"}, Reason.COMPLAINT),
        ({"level": Level.READ, "opt_out": "unsubscribe"}, Reason.UNSUBSCRIBE),
        ({"failure": ReportedFailure(INVALID, "5.1.1")}, Reason.HARD_BOUNCE),
        ({"failure": ReportedFailure(INVALID, "5.7.1", "550 5.7.1 blocked")}, None),
        ({"failure": ReportedFailure(INVALID)}, None),
        (
            {"failure": ReportedFailure(INVALID, "5.1.1"), "opt_out": "unsubscribe"},
            Reason.UNSUBSCRIBE,
        ),
        ({"failure": ReportedFailure(FailureCode.RECIPIENT_UNREACHABLE)}, None),
        ({"level": Level.READ}, None),
    ],
)
def test_what_a_provider_reports(said, reason):
    assert reported(**said) == ([] if reason is None else [(MESSAGE, reason)])


def step(channel: str, *adapters: str) -> Step:
    return Step(channel, 60, Level.SENT, adapters=adapters)


@pytest.mark.parametrize(
    ("plan", "tenant", "reasons"),
    [
        ((step("email", "sendgrid"),), "acme", [Reason.HARD_BOUNCE]),
        ((step("sms", "sendgrid"), step("email", "sendgrid")), "acme", [Reason.HARD_BOUNCE]),
        ((step("email"),), "acme", [Reason.HARD_BOUNCE]),
        # It carried the SMS, and the mail goes another way.
        ((step("sms", "sendgrid"), step("email", "other")), "acme", []),
        ((step("sms", "sendgrid"),), "acme", []),
        ((step("email", "sendgrid"),), "globex", []),
    ],
)
async def test_only_who_was_written_to_by_that_adapter(world: World, plan, tenant, reasons):
    log = FakeLog()
    to = {"sms": PHONE, "email": MAIL}
    order = MessageOrder(tenant, to, Content("Hi"), plan, accepted_at=NOW, expires_at=NOW)
    await log.accepted(MESSAGE, order)
    automatic = AutomaticSuppression(world.store, log)
    await automatic.reported("acme", "sendgrid", MESSAGE, Reason.HARD_BOUNCE)
    await automatic.reported("acme", "sendgrid", "msg_unknown", Reason.HARD_BOUNCE)
    assert [entry.reason for entry in world.store.page("acme", 5)] == reasons
    assert world.store.page(tenant, 5) == world.store.page("acme", 5) or not reasons
