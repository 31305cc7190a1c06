"""Mails that follow each other share a connection, and none is lost or sent twice by that."""

import asyncio

import pytest

import adapters.email.sessions
from adapters.email.relay import Relay, RelayAccount
from domain.delivery import SubmissionState
from tests.unit.email.conftest import DROP, SILENCE
from tests.waiting import eventually

TAKEN, FAILED = SubmissionState.TAKEN, SubmissionState.FAILED


@pytest.fixture
async def relay(smtp):
    account = RelayAccount(
        host="127.0.0.1",
        port=smtp.port,
        sender="Hermes <noreply@hermes.example>",
        domain="hermes.example",
        tls="none",
        username="hermes",
        password="w0nder",
        timeout=0.3,
    )
    relay = Relay(account)
    yield relay
    await relay.close()


async def states(relay, request_for, count):
    return [(await relay.deliver(request_for(attempt=n))).state for n in range(1, count + 1)]


async def test_mails_share_a_session(smtp, relay, request_for):
    assert await states(relay, request_for, 3) == [TAKEN] * 3
    assert [smtp.said(verb) for verb in ("EHLO", "AUTH", "MAIL", "QUIT")] == [1, 1, 3, 0]
    assert len(smtp.mails) == 3


async def test_mails_at_once_have_a_session_each(smtp, relay, request_for):
    answers = await asyncio.gather(*(relay.deliver(request_for(attempt=n)) for n in range(1, 4)))
    assert [answer.state for answer in answers] == [TAKEN] * 3
    assert smtp.said("EHLO") == 3
    assert await states(relay, request_for, 2) == [TAKEN] * 2
    assert smtp.said("EHLO") == 3


@pytest.mark.parametrize("ending", ["421 4.4.2 closing", DROP], ids=["421", "drop"])
async def test_the_relay_has_ended_the_session(smtp, relay, request_for, ending):
    smtp.replies["MAIL"] = ["250 ok", ending]
    assert await states(relay, request_for, 2) == [TAKEN] * 2
    assert (smtp.said("EHLO"), len(smtp.mails)) == (2, 2)


async def test_the_connection_went_while_it_waited(smtp, relay, request_for):
    assert await states(relay, request_for, 1) == [TAKEN]
    smtp.hang_up()
    assert await states(relay, request_for, 1) == [TAKEN]
    assert (smtp.said("EHLO"), len(smtp.mails)) == (2, 2)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_refusal_in_a_kept_session_is_one(smtp, relay, request_for, verb):
    taken = "354 go on" if verb == "DATA" else "250 ok"
    smtp.replies[verb] = [taken, "550 5.7.1 no", taken]
    assert await states(relay, request_for, 3) == [TAKEN, FAILED, TAKEN]
    # What the relay makes of the session after that is not relied on.
    assert (smtp.said("EHLO"), len(smtp.mails)) == (2, 2)


async def test_a_relay_that_falls_silent_in_a_kept_session_has_no_mail(smtp, relay, request_for):
    smtp.replies["MAIL"] = ["250 ok", SILENCE]
    assert await states(relay, request_for, 2) == [TAKEN, FAILED]
    assert len(smtp.mails) == 1


async def test_a_session_that_waits_for_long_is_ended(smtp, relay, request_for, monkeypatch):
    monkeypatch.setattr(adapters.email.sessions, "IDLE", 0.02)
    assert await states(relay, request_for, 1) == [TAKEN]
    await eventually(lambda: smtp.said("QUIT") == 1)
    assert await states(relay, request_for, 1) == [TAKEN]
    assert smtp.said("EHLO") == 2


async def test_a_session_takes_so_many_mails(smtp, relay, request_for, monkeypatch):
    monkeypatch.setattr(adapters.email.sessions, "MAILS", 2)
    assert await states(relay, request_for, 5) == [TAKEN] * 5
    assert smtp.said("EHLO") == 3
    await eventually(lambda: smtp.said("QUIT") == 2)


async def test_goodbye_at_the_end(smtp, relay, request_for):
    await states(relay, request_for, 1)
    await relay.close()
    assert smtp.said("QUIT") == 1
