"""What a relay's behaviour means: every way in which a mail can fail to be taken over."""

import socket
from datetime import UTC, datetime

import pytest

from adapters.email.relay import Relay, RelayAccount
from domain.delivery import SubmissionState
from domain.failures import FailureCode
from domain.message import Level
from tests.unit.email.conftest import DROP, SILENCE, ScriptedRelay

TAKEN, FAILED, UNKNOWN = SubmissionState.TAKEN, SubmissionState.FAILED, SubmissionState.UNKNOWN


def relay(port, **more):
    account = {"host": "127.0.0.1", "sender": "Hermes <noreply@hermes.example>", "timeout": 0.3}
    return Relay(
        RelayAccount(**{**account, "port": port, "domain": "hermes.example", "tls": "none", **more})
    )


async def test_taken(smtp, request_for):
    answer = await relay(smtp.port).deliver(request_for())
    assert (answer.state, answer.level, answer.provider) == (TAKEN, Level.SENT, "smtp")
    assert answer.provider_ids == ("<msg_1.1@hermes.example>",)
    assert answer.begun_at <= answer.at
    envelope = [command.partition(" ")[2] for command in smtp.commands[1:3]]
    assert envelope[0].startswith("FROM:<noreply@hermes.example>")
    assert envelope[1].startswith("TO:<anna@example.com>")
    assert b"\r\nMessage-ID: <msg_1.1@hermes.example>\r\n" in smtp.mails[0]


@pytest.mark.parametrize(
    ("verb", "reply", "state", "code"),
    [
        ("RCPT", "550 5.1.1 no such user", FAILED, FailureCode.RECIPIENT_INVALID),
        ("RCPT", "551 not here", FAILED, FailureCode.RECIPIENT_INVALID),
        ("RCPT", "553 bad name", FAILED, FailureCode.RECIPIENT_INVALID),
        # 550 is said to all kinds of things: what counts is which command got it.
        ("RCPT", "550 relay not permitted", FAILED, FailureCode.RECIPIENT_INVALID),
        ("RCPT", "550 5.1.8 Sender address rejected", FAILED, FailureCode.SENDER_REJECTED),
        ("MAIL", "550 Sender address not verified", FAILED, FailureCode.SENDER_REJECTED),
        ("MAIL", "553 5.1.8 no such domain", FAILED, FailureCode.SENDER_REJECTED),
        ("DATA", "550 no", FAILED, FailureCode.CONTENT_REJECTED),
        ("BODY", "550 message rejected as spam", FAILED, FailureCode.CONTENT_REJECTED),
        ("BODY", "550 5.7.1 SPF check failed", FAILED, FailureCode.CONTENT_REJECTED),
        ("CONNECT", "550 your address is blocked", FAILED, FailureCode.PROVIDER_REJECTED),
        ("RCPT", "451 4.3.0 later", FAILED, FailureCode.PROVIDER_ERROR),
        ("RCPT", "452 too many", FAILED, FailureCode.PROVIDER_ERROR),
        ("RCPT", "530 log in first", FAILED, FailureCode.CONFIGURATION),
        ("MAIL", "530 5.7.0 must issue STARTTLS", FAILED, FailureCode.CONFIGURATION),
        ("MAIL", "421 closing", FAILED, FailureCode.PROVIDER_ERROR),
        ("MAIL", "552 too large", FAILED, FailureCode.CONTENT_REJECTED),
        ("DATA", "554 no", FAILED, FailureCode.PROVIDER_REJECTED),
        ("DATA", "451 4.3.0 later", FAILED, FailureCode.PROVIDER_ERROR),
        ("BODY", "552 too large", FAILED, FailureCode.CONTENT_REJECTED),
        ("BODY", "554 5.7.1 spam", FAILED, FailureCode.PROVIDER_REJECTED),
        ("BODY", "450 greylisted", FAILED, FailureCode.PROVIDER_ERROR),
        ("CONNECT", "554 go away", FAILED, FailureCode.PROVIDER_REJECTED),
        ("CONNECT", "421 too busy", FAILED, FailureCode.PROVIDER_ERROR),
        ("CONNECT", DROP, FAILED, FailureCode.PROVIDER_UNAVAILABLE),
        ("CONNECT", SILENCE, FAILED, FailureCode.PROVIDER_UNAVAILABLE),
        ("EHLO", DROP, FAILED, FailureCode.PROVIDER_UNAVAILABLE),
        # From here on the relay may have the mail.
        ("BODY", DROP, UNKNOWN, FailureCode.OUTCOME_UNKNOWN),
        ("BODY", SILENCE, UNKNOWN, FailureCode.OUTCOME_UNKNOWN),
    ],
    ids=lambda value: {id(DROP): "drop", id(SILENCE): "silence"}.get(id(value)),
)
async def test_outcome(smtp, request_for, verb, reply, state, code):
    smtp.replies[verb] = reply
    answer = await relay(smtp.port).deliver(request_for())
    assert (answer.state, answer.failure.code) == (state, code)
    if isinstance(reply, str):
        assert answer.failure.provider_code == reply[:3]
        assert reply[4:] in answer.failure.detail


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
@pytest.mark.parametrize("fault", [DROP, SILENCE], ids=["drop", "silence"])
async def test_what_breaks_before_the_data_was_not_sent(smtp, request_for, verb, fault):
    smtp.replies[verb] = fault
    answer = await relay(smtp.port).deliver(request_for())
    assert (answer.state, answer.failure.code) == (FAILED, FailureCode.PROVIDER_UNAVAILABLE)


async def test_nobody_listens(request_for):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = await relay(port).deliver(request_for())
    assert (answer.state, answer.failure.code) == (FAILED, FailureCode.PROVIDER_UNAVAILABLE)


async def test_too_late(smtp, request_for):
    answer = await relay(smtp.port).deliver(request_for(not_after=datetime.now(UTC)))
    assert (answer.state, answer.failure.code) == (FAILED, FailureCode.TOO_LATE)
    assert smtp.commands == []


async def test_login(smtp, request_for):
    answer = await relay(smtp.port, username="hermes", password="w0nder").deliver(request_for())
    assert answer.state is TAKEN
    assert any(command.startswith("AUTH") for command in smtp.commands)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("535 5.7.8 wrong", FailureCode.CONFIGURATION),
        ("538 encryption needed", FailureCode.CONFIGURATION),
        ("454 4.7.0 try later", FailureCode.PROVIDER_ERROR),
    ],
)
async def test_login_refused(smtp, request_for, reply, code):
    smtp.replies["AUTH"] = reply
    answer = await relay(smtp.port, username="hermes", password="w0nder").deliver(request_for())
    assert (answer.state, answer.failure.code) == (FAILED, code)
    assert "w0nder" not in str(answer)
    assert smtp.mails == []


async def test_login_where_there_is_none(smtp, request_for):
    smtp.replies["EHLO"] = "250 here"
    answer = await relay(smtp.port, username="hermes", password="w0nder").deliver(request_for())
    assert (answer.state, answer.failure.code) == (FAILED, FailureCode.CONFIGURATION)


async def test_a_relay_without_tls_gets_nothing(smtp, request_for):
    answer = await relay(smtp.port, tls="starttls", username="hermes", password="w0nder").deliver(
        request_for()
    )
    assert (answer.state, answer.failure.code) == (FAILED, FailureCode.CONFIGURATION)
    assert [command.split()[0] for command in smtp.commands] in (["EHLO"], ["EHLO", "QUIT"])


@pytest.mark.parametrize(
    ("host", "trusted", "code"),
    [("localhost", True, None), ("127.0.0.1", True, "x"), ("localhost", False, "x")],
    ids=["right", "another name", "not trusted"],
)
async def test_certificate(authority, certificate, request_for, host, trusted, code):
    smtp = await ScriptedRelay().start(tls=certificate.context())
    answer = await relay(
        smtp.port, host=host, tls="implicit", ca_file=authority.file if trusted else None
    ).deliver(request_for())
    smtp.stop()
    if code is None:
        assert answer.state is TAKEN
    else:
        assert (answer.state, answer.failure.code) == (FAILED, FailureCode.CONFIGURATION)
        assert "certificate" in answer.failure.detail.lower()
        assert smtp.commands == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": "Hi\r\nBcc: eve@example.com"},
        {"to": "anna@example.com\r\nBcc: eve@example.com"},
        {"to": "not an address"},
        {"to": "søren@example.com"},
        {"sender": "søren@example.com"},
        {"sender": "nobody"},
        {"text": "\ud800"},
    ],
    ids=ascii,
)
async def test_what_no_mail_can_carry_is_refused(smtp, request_for, wrong):
    """The API lets none of it in; the trusted door has no such checks."""
    answer = await relay(smtp.port).deliver(request_for(**wrong))
    assert (answer.state, answer.failure.permanent) == (FAILED, True)
    assert smtp.mails == []
