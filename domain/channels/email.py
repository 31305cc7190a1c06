"""Email: an address with an ASCII local part, a subject of one line, text, HTML or both.

A relay proves at most that it passed the mail on (`sent`). Providers with an event webhook prove
more: that the recipient's server took it, and that it was opened.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parseaddr
from functools import lru_cache
from typing import Final

import msgspec
from email_validator import EmailNotValidError, validate_email

from domain.channels.rules import AddressProblem, ChannelRules, ContentProblem, SenderProblem
from domain.message import Category, Content, Level

DERIVED_SUBJECT_LENGTH: Final = 78
"""RFC 5322 section 2.1.1 recommends lines of at most 78 characters."""
MAX_SUBJECT_LENGTH: Final = 255
MAX_SENDER_LENGTH: Final = 320
ADDRESS_CACHE: Final = 16_384

CODES: Final[dict[str, str]] = {
    "invalid_email_address": (
        "The address is not one that mail can be sent to. Letters outside ASCII are allowed in "
        "the domain only; quoted local parts, display names and address literals are not."
    ),
    "invalid_email_sender": (
        f"An email sender is an address or `Name <address>`, at most {MAX_SENDER_LENGTH} "
        "characters, without line breaks."
    ),
    "invalid_subject": (
        f"A subject is one line of at most {MAX_SUBJECT_LENGTH} characters, without control "
        "characters."
    ),
    "empty_text": "Neither text nor HTML has any content.",
}

# Whatever could end a header's line. Not str.isprintable: emoji are joined by unprintables.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@lru_cache(maxsize=ADDRESS_CACHE)
def parse_address(raw: str) -> str:
    """The address with its domain in lower case and in ASCII. Raises AddressProblem.

    Only the form is checked, never the DNS: a mail for a domain that does not exist fails when
    it is sent. The reserved `.test` and `.example` are allowed: development needs them, and no
    relay delivers there.
    """
    try:
        checked = validate_email(
            raw,
            check_deliverability=False,
            allow_smtputf8=False,
            strict=True,  # a local part of at most 64 characters: RFC 5321 section 4.5.3.1.1
            test_environment=True,
        )
    except EmailNotValidError as error:
        raise AddressProblem("invalid_email_address", str(error)) from None
    if checked.ascii_email is None:
        raise AddressProblem("invalid_email_address", CODES["invalid_email_address"])
    return checked.ascii_email


def parse_sender(raw: str) -> str:
    """A From header's value. Raises SenderProblem."""
    name, address = parseaddr(raw)
    if len(raw) > MAX_SENDER_LENGTH or _CONTROL.search(raw) or not address:
        raise SenderProblem("invalid_email_sender", CODES["invalid_email_sender"])
    try:
        address = parse_address(address)
    except AddressProblem as problem:
        raise SenderProblem("invalid_email_sender", problem.detail) from None
    return f"{name} <{address}>" if name else address


def prepare(content: Content) -> Content:
    """Check the content and derive a missing subject from the text; raises ContentProblem.

    A message written for SMS has no subject, and its fallback to email must not fail for that.
    """
    if not (content.text.strip() or (content.html or "").strip()):
        raise ContentProblem("empty_text", CODES["empty_text"], field="text")
    if content.subject is None:
        return msgspec.structs.replace(content, subject=_first_line(content.text))
    if len(content.subject) > MAX_SUBJECT_LENGTH or _CONTROL.search(content.subject):
        raise ContentProblem("invalid_subject", CODES["invalid_subject"], field="subject")
    return content


def _first_line(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "")
    line = _CONTROL.sub(" ", line).strip()
    if len(line) <= DERIVED_SUBJECT_LENGTH:
        return line
    return line[: DERIVED_SUBJECT_LENGTH - 1].rstrip() + "…"


RULES: Final = ChannelRules(
    name="email",
    parse_address=parse_address,
    parse_sender=parse_sender,
    prepare=prepare,
    default_success=Level.SENT,
    provable=Level.READ,
    own=Level.SENT,
    default_timeout={Category.TRANSACTIONAL: timedelta(seconds=300)},
    codes=CODES,
)
