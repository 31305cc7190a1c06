"""SMS: E.164 mobile numbers, a text of up to ten parts, receipts that prove delivery.

Numbers are checked against libphonenumber's metadata (the `phonenumbers` package), which knows
each country's number ranges. It cannot know whether a number is in service.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ValidationResult

from domain.channels.rules import AddressProblem, ChannelRules, ContentProblem, SenderProblem
from domain.message import Category, Content, Level
from domain.numbering.number import parsed
from domain.sms.segmentation import count_segments

MAX_SEGMENTS: Final = 10
ADDRESS_CACHE: Final = 16_384
"""Numbers remembered: an OTP's recipient is often asked for again within minutes."""

CODES: Final[dict[str, str]] = {
    "not_a_number": "A phone number must be in E.164 form: + and 7 to 15 digits, no spaces.",
    "number_too_short": "The number has fewer digits than any number of its country.",
    "number_too_long": "The number has more digits than any number of its country.",
    "unknown_country": "The number begins with a country code that does not exist.",
    "invalid_number": "The number is in no range that its country has handed out.",
    "not_a_mobile": "The number is a fixed line or a service number, which gets no SMS.",
    "invalid_sms_sender": (
        "An SMS sender is 1 to 11 letters, digits, spaces or . _ & - with at least one letter, "
        "or a number of 3 to 15 digits, with or without a leading +."
    ),
    "empty_text": "The text is empty.",
    "too_many_segments": f"The text needs more than {MAX_SEGMENTS} SMS segments.",
}

_E164_SHAPE: Final = re.compile(r"\+[0-9]{1,32}\Z")
_ALPHANUMERIC_SENDER: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ._&-]{1,11}\Z")
_NUMERIC_SENDER: Final = re.compile(r"\+?[0-9]{3,15}\Z")

_UNPARSABLE: Final = {
    NumberParseException.INVALID_COUNTRY_CODE: "unknown_country",
    NumberParseException.TOO_SHORT_NSN: "number_too_short",
    NumberParseException.TOO_SHORT_AFTER_IDD: "number_too_short",
    NumberParseException.TOO_LONG: "number_too_long",
}
_IMPOSSIBLE: Final = {
    ValidationResult.INVALID_COUNTRY_CODE: "unknown_country",
    ValidationResult.TOO_SHORT: "number_too_short",
    ValidationResult.TOO_LONG: "number_too_long",
    ValidationResult.INVALID_LENGTH: "invalid_number",
    # Only a part of a number: fine on a phone of that town, not from abroad.
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "number_too_short",
}
# In North America and some other plans a range does not tell mobile from fixed line.
_MOBILE: Final = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


@lru_cache(maxsize=ADDRESS_CACHE)
def parse_address(raw: str) -> str:
    """The number in E.164. Raises AddressProblem."""
    if _E164_SHAPE.match(raw) is None:
        raise _address_problem("not_a_number")
    try:
        number, kind = parsed(raw)
    except NumberParseException as error:
        raise _address_problem(_UNPARSABLE.get(error.error_type, "not_a_number")) from None
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != ValidationResult.IS_POSSIBLE:
        raise _address_problem(_IMPOSSIBLE[possible])
    if kind == PhoneNumberType.UNKNOWN:
        raise _address_problem("invalid_number")
    if kind not in _MOBILE:
        raise _address_problem("not_a_mobile")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def parse_sender(raw: str) -> str:
    """A sender name or number as carriers take it (SMPP source_addr). Raises SenderProblem."""
    if _ALPHANUMERIC_SENDER.match(raw) or _NUMERIC_SENDER.match(raw):
        return raw
    raise SenderProblem("invalid_sms_sender", CODES["invalid_sms_sender"])


def prepare(content: Content) -> Content:
    """Check that the text fits; raises ContentProblem."""
    if not content.text or content.text.isspace():
        raise ContentProblem("empty_text", CODES["empty_text"], field="text")
    encoding, segments = count_segments(content.text)
    if segments > MAX_SEGMENTS:
        detail = f"The text needs {segments} segments in {encoding}; at most {MAX_SEGMENTS}."
        raise ContentProblem("too_many_segments", detail, field="text")
    return content


def _address_problem(code: str) -> AddressProblem:
    return AddressProblem(code, CODES[code])


RULES: Final = ChannelRules(
    name="sms",
    parse_address=parse_address,
    parse_sender=parse_sender,
    prepare=prepare,
    default_success=Level.DELIVERED,
    provable=Level.DELIVERED,
    own=Level.DELIVERED,
    default_timeout={
        Category.TRANSACTIONAL: timedelta(seconds=60),
        Category.OTP: timedelta(seconds=30),
    },
    codes=CODES,
)
