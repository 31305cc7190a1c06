"""The tables: what they promise can be sent, and the page says the same."""

from pathlib import Path

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from infra.simulators.mail_sink import BEHAVIOURS as MAILS
from infra.simulators.providers.behaviours import (
    DELIVERED,
    FCM,
    SENDGRID,
    TWILIO,
    TWILIO_SENDERS,
    WHATSAPP,
    by_beginning,
    by_last_digits,
)
from infra.simulators.providers.fcm import ERRORS as FCM_ERRORS
from infra.simulators.providers.sendgrid import ERRORS as SENDGRID_ERRORS
from infra.simulators.providers.twilio import ERRORS as TWILIO_ERRORS
from infra.simulators.providers.whatsapp import ERRORS as WHATSAPP_ERRORS
from infra.simulators.smsc import BEHAVIOURS as SMS

README = Path(__file__).resolve().parents[4] / "infra/simulators/providers/README.md"
TABLES = {
    "twilio": (TWILIO, TWILIO_ERRORS),
    "whatsapp": (WHATSAPP, WHATSAPP_ERRORS),
    "sendgrid": (SENDGRID, SENDGRID_ERRORS),
    "fcm": (FCM, FCM_ERRORS),
}


@pytest.mark.parametrize("digits", [*TWILIO, *WHATSAPP])
def test_numbers_are_valid_mobile_numbers(digits):
    number = phonenumbers.parse(f"+452012{digits}")
    assert phonenumbers.is_valid_number(number)
    mobile = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    assert phonenumbers.number_type(number) in mobile


def test_no_recipient_means_two_things():
    assert not TWILIO.keys() & WHATSAPP.keys()
    assert not (TWILIO.keys() | WHATSAPP.keys()) & SMS.keys()
    assert not any(address.startswith(tuple(MAILS)) for address in SENDGRID)


@pytest.mark.parametrize("provider", TABLES)
def test_refusals_exist(provider):
    table, errors = TABLES[provider]
    refusals = {b.refusal for b in table.values() if b.refusal is not None}
    assert refusals <= errors.keys()
    assert set(TWILIO_SENDERS.values()) <= TWILIO_ERRORS.keys()
    if provider == "whatsapp":
        codes = {e.partition(":")[2] for b in table.values() for e in b.events or ()} - {""}
        assert codes <= errors.keys()


@pytest.mark.parametrize("provider", TABLES)
def test_the_page_has_every_recipient(provider):
    page = README.read_text()
    missing = [key for key in TABLES[provider][0] if f"| `{key}" not in page]
    assert missing == []


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (by_last_digits(TWILIO, "+4520129805"), TWILIO["9805"]),
        (by_last_digits(TWILIO, "+4520120000"), DELIVERED),
        (by_beginning(SENDGRID, "SG-Bounce+x@example.com"), SENDGRID["sg-bounce"]),
        (by_beginning(SENDGRID, "ann@sg-bounce.example"), DELIVERED),
        (by_beginning(SENDGRID, "sg-unsubscribed@example.com"), SENDGRID["sg-unsubscribed"]),
        (by_beginning(SENDGRID, "sg-unsigned@example.com"), SENDGRID["sg-unsigned"]),
    ],
)
def test_who_behaves_how(behaviour, expected):
    assert behaviour is expected
