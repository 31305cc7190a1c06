"""What the sandbox answers and reports, by recipient."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.channels import CHANNELS
from domain.delivery import DeliveryRequest, SubmissionState
from domain.failures import FailureCode
from domain.message import Content, Level
from domain.mode import Mode
from domain.sandbox import PROVIDER, SCRIPTS, is_suppressed, play, script_of
from infra.simulators.smsc.behaviours import BEHAVIOURS

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TOKEN = "fK3x9:APA91bH"
STEP = timedelta(seconds=30)

# What only the cascade or Hermes itself can say: no provider reports it.
NOT_A_PROVIDERS = {
    FailureCode.NOT_SUPPORTED,
    FailureCode.TOO_LATE,
    FailureCode.TIMEOUT,
    FailureCode.TTL_EXPIRED,
    FailureCode.CANCELED,
    FailureCode.INSUFFICIENT_FUNDS,
    FailureCode.RECIPIENT_BLOCKED,
    FailureCode.ACCOUNT_SUSPENDED,
    FailureCode.INTERNAL,
}


def request(channel: str, to: str, **facts) -> DeliveryRequest:
    known = {
        "message": "msg_1",
        "attempt": 1,
        "tenant": "acme",
        "to": to,
        "content": Content("Hello"),
        "receipt_ref": "sign_1",
        "not_after": NOW + STEP,
        "channel": channel,
        "mode": Mode.TEST,
    }
    return DeliveryRequest(**{**known, **facts})


def reported(playing):
    return [r.level or (r.failure and r.failure.code) for _, r in playing.receipts]


CHOSEN = {
    # channel, address, the script's word
    "a number": ("sms", "+4520109905", "invalid"),
    "the same for WhatsApp": ("whatsapp", "+4520109905", "invalid"),
    "a number of another country": ("sms", "+4915112349902", "silent"),
    "any other number": ("sms", "+4520123456", "delivered"),
    "an address": ("email", "invalid@example.com", "invalid"),
    "an address with something behind the word": ("email", "late+7@example.com", "late"),
    "an address with a number behind it": ("email", "Late-7@example.com", "late"),
    "a longer word": ("email", "latenight@example.com", "delivered"),
    "any other address": ("email", "anna@example.com", "delivered"),
    "a token": ("push", "invalid:token", "invalid"),
    "any other token": ("push", TOKEN, "delivered"),
    "digits of an address": ("email", "9905@example.com", "delivered"),
}


@pytest.mark.parametrize(("channel", "to", "word"), CHOSEN.values(), ids=CHOSEN)
def test_the_recipient_chooses(channel, to, word):
    assert script_of(channel, CHANNELS[channel].parse_address(to)).word == word


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.word)
def test_every_script_can_be_chosen_on_every_channel(script):
    addresses = {
        "sms": f"+452010{script.digits}",
        "whatsapp": f"+452010{script.digits}",
        "email": f"{script.word}@example.com",
        "push": f"{script.word}:token",
    }
    assert set(addresses) == set(CHANNELS)
    for channel, address in addresses.items():
        assert script_of(channel, CHANNELS[channel].parse_address(address)) is script


def test_words_and_digits_are_used_once():
    assert len({s.word for s in SCRIPTS}) == len({s.digits for s in SCRIPTS}) == len(SCRIPTS)


def test_every_failure_that_a_provider_can_report_has_a_script():
    played = {s.refusal for s in SCRIPTS} | {said for s in SCRIPTS for said in s.reports}
    played |= {FailureCode.OUTCOME_UNKNOWN}  # of the scripts that give no answer
    assert any(not script.answers for script in SCRIPTS)
    assert set(FailureCode) - NOT_A_PROVIDERS <= played


def test_the_digits_are_those_of_the_smsc_simulator():
    shared = {"late", "silent", "unreachable", "early", "invalid", "throttled", "expired"}
    shared |= {"unknown", "unanswered", "rejected"}
    assert {s.digits for s in SCRIPTS if s.word in shared} == set(BEHAVIOURS)


@pytest.mark.parametrize("channel", CHANNELS)
def test_nothing_is_reported_that_the_channel_cannot_prove(channel):
    to = "+4520109911" if channel in ("sms", "whatsapp") else "read-it@example.com"
    provable = CHANNELS[channel].provable
    told = reported(play(request(channel, to), NOW))
    assert told == [level for level in (Level.DELIVERED, Level.READ) if provable.reaches(level)]


def test_a_text_of_several_parts_has_an_id_for_each():
    asked = request("sms", "+4520123456", content=Content("x" * 400))
    submission = play(asked, NOW).submission
    assert (submission.segments, len(set(submission.provider_ids))) == (3, 3)


def test_a_late_receipt_comes_after_the_step():
    [(after, receipt)] = play(request("sms", "+4520109901"), NOW).receipts
    assert NOW + after > NOW + STEP
    assert receipt.at == NOW + after


def test_a_request_after_its_time_is_not_played():
    playing = play(request("sms", "+4520123456"), NOW + STEP)
    assert playing.submission.failure is not None
    assert playing.submission.failure.code is FailureCode.TOO_LATE
    assert not playing.receipts


TRIES = {"throttled": (2, SubmissionState.BUSY), "flaky": (1, SubmissionState.FAILED)}


@pytest.mark.parametrize(("word", "refused"), TRIES.items(), ids=TRIES)
def test_a_passing_refusal_passes(word, refused):
    times, state = refused
    asked = request("email", f"{word}@example.com", tries=times)
    assert play(asked, NOW).submission.state is state
    again = play(msgspec.structs.replace(asked, tries=times + 1), NOW)
    assert again.submission.state is SubmissionState.TAKEN


def test_a_repeated_call_gives_the_same_play():
    asked = request("sms", "+4520109917")
    assert play(asked, NOW) == play(asked, NOW)


def test_everything_says_that_it_is_the_sandbox():
    for script in SCRIPTS:
        playing = play(request("email", f"{script.word}@example.com"), NOW)
        named = {playing.submission.provider, *(r.provider for _, r in playing.receipts)}
        assert named == {PROVIDER}


def test_only_one_has_opted_out():
    assert [s.word for s in SCRIPTS if is_suppressed("email", f"{s.word}@x.test")] == ["optedout"]
