"""The delivery service in front of the relay: one attempt is sent once, whatever crashes."""

from adapters.email.relay import Relay, RelayAccount
from adapters.store.attempts import SqliteAttemptJournal
from domain.delivery import SubmissionState
from domain.failures import FailureCode
from handlers.delivery.email import create_email_delivery
from tests.unit.email.conftest import DROP


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
