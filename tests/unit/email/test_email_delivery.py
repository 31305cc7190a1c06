"""The delivery service in front of the relay: one attempt is sent once, whatever crashes."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from adapters.email.relay import Relay, RelayAccount
from adapters.store.attempts import SqliteAttemptJournal
from domain.delivery import SubmissionState
from domain.failures import FailureCode
from handlers.delivery.email import create_email_delivery
from tests.unit.email.conftest import DROP, SILENCE
from tests.waiting import eventually


async def deliver(smtp, path, request):
    """Call the service's handler in a process of its own."""
    attempts = SqliteAttemptJournal(path)
    account = RelayAccount("127.0.0.1", smtp.port, "a@example.com", "example.com", tls="none")
    service = create_email_delivery(Relay(account), attempts)
    try:
        return await service.handlers["deliver"].fn(None, request)
    finally:
        await attempts.close()


async def test_a_repeated_call_is_answered_from_the_journal(smtp, tmp_path, request_for):
    first = await deliver(smtp, tmp_path / "hermes.db", request_for())
    again = await deliver(smtp, tmp_path / "hermes.db", request_for())
    assert first.state is SubmissionState.TAKEN
    assert again == first
    assert len(smtp.mails) == 1


async def test_another_attempt_is_sent(smtp, tmp_path, request_for):
    for attempt in (1, 2):
        await deliver(smtp, tmp_path / "hermes.db", request_for(attempt=attempt))
    assert len(smtp.mails) == 2


async def test_after_a_crash_the_outcome_is_unknown(smtp, tmp_path, request_for):
    """Begun, and nobody noted how it went."""
    attempts = SqliteAttemptJournal(tmp_path / "hermes.db")
    await attempts.begin("msg_1", 1)
    await attempts.close()
    answer = await deliver(smtp, tmp_path / "hermes.db", request_for())
    assert answer.state is SubmissionState.UNKNOWN
    assert answer.failure.code is FailureCode.OUTCOME_UNKNOWN
    assert smtp.mails == []


async def test_an_unknown_outcome_stays_unknown(smtp, tmp_path, request_for):
    smtp.replies["BODY"] = DROP
    first = await deliver(smtp, tmp_path / "hermes.db", request_for())
    del smtp.replies["BODY"]
    assert await deliver(smtp, tmp_path / "hermes.db", request_for()) == first
    assert first.state is SubmissionState.UNKNOWN
    assert len(smtp.mails) == 1


@pytest.fixture
async def attempts(tmp_path):
    attempts = SqliteAttemptJournal(tmp_path / "hermes.db")
    yield attempts
    await attempts.close()


@pytest.fixture
def service(smtp, attempts):
    """Of a relay that takes two mails at once."""
    account = RelayAccount(
        "127.0.0.1", smtp.port, "a@example.com", "example.com", tls="none", sessions=2, timeout=0.5
    )
    return create_email_delivery(Relay(account), attempts).handlers["deliver"].fn


async def test_more_mails_than_sessions_take_turns(smtp, service, request_for):
    answers = await asyncio.gather(*(service(None, request_for(attempt=n)) for n in range(1, 9)))
    assert [answer.state for answer in answers] == [SubmissionState.TAKEN] * 8
    assert smtp.said("EHLO") == 2
    assert len(smtp.mails) == 8


async def test_a_mail_that_fails_gives_its_turn_to_the_next(smtp, service, request_for):
    smtp.replies["RCPT"] = ["550 5.1.1 nobody", "451 4.3.0 later", "250 ok", "250 ok"]
    answers = await asyncio.gather(*(service(None, request_for(attempt=n)) for n in range(1, 5)))
    states = sorted(answer.state for answer in answers)
    assert states == sorted([SubmissionState.FAILED] * 2 + [SubmissionState.TAKEN] * 2)


async def test_a_mail_whose_time_ends_while_it_waits_is_not_sent(smtp, service, request_for):
    smtp.replies["BODY"] = SILENCE
    first = [asyncio.ensure_future(service(None, request_for(attempt=n))) for n in (1, 2)]
    await eventually(lambda: smtp.said("DATA") == 2)
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    late = await service(None, request_for(attempt=3, not_after=soon))
    assert late.failure.code is FailureCode.TOO_LATE
    assert smtp.said("DATA") == 2
    await asyncio.gather(*first)


async def test_what_waits_for_its_turn_has_not_begun(smtp, service, attempts, request_for):
    """A process that dies meanwhile leaves nothing in doubt."""
    smtp.replies["BODY"] = SILENCE
    calls = [asyncio.ensure_future(service(None, request_for(attempt=n))) for n in (1, 2, 3)]
    await eventually(lambda: smtp.said("DATA") == 2)
    begun = [await attempts.known("msg_1", attempt) for attempt in (1, 2, 3)]
    assert [known is not None for known in begun] == [True, True, False]
    await asyncio.gather(*calls)
