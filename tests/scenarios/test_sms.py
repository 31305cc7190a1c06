"""What becomes of an SMS, chosen by the number that it goes to."""

from datetime import UTC, datetime, timedelta

from tests.scenarios.driver import email, entries, entry, events, mailbox, moment, number, sms
from tests.waiting import until


def test_sms_delivered_by_receipt(hermes):
    to = number()
    message = hermes.ended(hermes.send(sms(), to_sms=to, text="Your code is 1234"))
    assert (message["status"], message["channel"], message["level"]) == (
        ("delivered", "sms", "delivered")
    )
    assert events(message) == ["accepted", "step", "submitted", "receipt", "ended"]
    [submit] = hermes.submits(to)
    assert submit["text"] == "Your code is 1234"
    assert entry(message, "submitted")["provider_ids"] == [submit["message_id"]]
    assert entry(message, "receipt")["provider_status"] == "DELIVRD err:000"


def test_no_receipt_falls_back_to_email(hermes):
    inbox = mailbox()
    message = hermes.ended(
        hermes.send(sms(timeout=1), email(), to_sms=number("9902"), to_email=inbox)
    )
    assert (message["status"], message["channel"]) == ("sent", "email")
    assert events(message) == [
        *("accepted", "step", "submitted", "timeout", "step", "submitted", "ended")
    ]
    assert len(hermes.mails(inbox)) == 1


def test_undelivered_fails_over_at_once(hermes):
    inbox = mailbox()
    message = hermes.ended(
        hermes.send(sms(timeout=60), email(), to_sms=number("9903"), to_email=inbox)
    )
    assert message["status"] == "sent"
    receipt = entry(message, "receipt")
    assert receipt["failure"]["code"] == "recipient_unreachable"
    assert moment(entry(message, "step", channel="email")) - moment(receipt) < 1
    assert len(hermes.mails(inbox)) == 1


def test_rejected_fails_over_at_once(hermes):
    message = hermes.ended(
        hermes.send(sms(timeout=60), email(), to_sms=number("9905"), to_email=mailbox())
    )
    assert message["status"] == "sent"
    assert entry(message, "failed")["failure"]["code"] == "recipient_invalid"
    assert entry(message, "failed")["failure"]["provider_code"] == "ESME_RINVDSTADR"


def test_rejected_without_another_step_fails(hermes):
    message = hermes.ended(hermes.send(sms(), to_sms=number("9905")))
    assert (message["status"], message["failure"]["code"]) == ("failed", "recipient_invalid")


def test_throttled_is_not_a_failed_attempt(hermes):
    to = number("9906")
    message = hermes.ended(hermes.send(sms(), to_sms=to))
    assert message["status"] == "delivered"
    assert events(message) == ["accepted", "step", "submitted", "receipt", "ended"]
    assert not any("failure" in line for line in message["timeline"])
    [submitted] = entries(message, "submitted")
    assert (submitted["attempt"], submitted["segments"]) == (1, 1)
    submits = hermes.submits(to)
    assert [s["status"] for s in submits] == ["ESME_RTHROTTLED"] * 3 + ["ESME_ROK"]
    assert submitted["provider_ids"] == [submits[-1]["message_id"]]


def test_receipt_before_response(hermes):
    message = hermes.ended(hermes.send(sms(), to_sms=number("9904")))
    assert message["status"] == "delivered"
    assert events(message) == ["accepted", "step", "submitted", "receipt", "ended"]


def test_late_receipt_is_recorded(hermes):
    """2.5 s after the submission; the e-mail went out after one, and nothing is sent again."""
    inbox, to = mailbox(), number("9901")
    sent = hermes.send(sms(timeout=1), email(), to_sms=to, to_email=inbox)
    assert hermes.ended(sent)["status"] == "sent"
    message = hermes.until_event(sent, "receipt", late=True)
    assert message["status"] == "sent"
    assert entry(message, "receipt")["level"] == "delivered"
    assert (len(hermes.submits(to)), len(hermes.mails(inbox))) == (1, 1)


def test_receipt_of_an_earlier_step_ends_a_later_one(hermes):
    """The receipt comes at 2.5 s, while the mail's relay has not yet answered."""
    message = hermes.ended(
        hermes.send(
            sms(timeout=1), email(timeout=20), to_sms=number("9901"), to_email=mailbox("slow")
        )
    )
    assert (message["status"], message["channel"]) == ("delivered", "sms")


def test_receipt_of_a_submission_that_answered_after_its_step(slow_carrier):
    """The step is over before the SMSC has answered; the receipt is not lost for that."""
    sent = slow_carrier.send(sms(timeout=1), to_sms=number())
    assert slow_carrier.ended(sent)["status"] == "failed"
    message = slow_carrier.until_event(sent, "receipt")
    assert entry(message, "receipt")["late"]


def test_long_unicode_message_is_concatenated_and_aggregated(hermes):
    to, text = number(), "Blåbærgrød 🫐 " * 12
    message = hermes.ended(hermes.send(sms(), to_sms=to, text=text))
    assert message["status"] == "delivered"
    submits = hermes.submits(to)
    assert "".join(submit["text"] for submit in submits) == text
    assert [s["part"]["number"] for s in submits] == [1, 2, 3]
    assert {s["part"]["reference"] for s in submits} == {submits[0]["part"]["reference"]}
    submitted = entry(message, "submitted")
    assert submitted["segments"] == 3
    assert submitted["provider_ids"] == [submit["message_id"] for submit in submits]
    assert len(entries(message, "receipt")) == 1


def test_scheduled_message_canceled(hermes):
    to = number()
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    sent = hermes.send(sms(), to_sms=to, send_at=soon)
    until(lambda: hermes.message(sent)["status"] == "scheduled" and events(hermes.message(sent)))
    assert hermes.request("DELETE", f"/v1/messages/{sent}").status_code == 202
    message = hermes.ended(sent, within=3)
    assert (message["status"], message["failure"]["code"]) == ("canceled", "canceled")
    assert hermes.request("DELETE", f"/v1/messages/{sent}").status_code == 409
    assert hermes.submits(to) == []


def test_scheduled_message_goes_out_on_time(hermes):
    to = number()
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    message = hermes.ended(hermes.send(sms(), to_sms=to, send_at=soon.isoformat()))
    assert message["status"] == "delivered"
    [submit] = hermes.submits(to)
    assert 0 <= submit["at"] - soon.timestamp() < 0.5


def test_waiting_message_canceled(hermes):
    sent = hermes.send(sms(), email(), to_sms=number("9902"), to_email=mailbox())
    hermes.until_event(sent, "submitted")
    assert hermes.request("DELETE", f"/v1/messages/{sent}").status_code == 202
    assert hermes.ended(sent, within=3)["status"] == "canceled"
