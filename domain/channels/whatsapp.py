"""WhatsApp: a mobile number, a text or an approved template, receipts up to `read`.

Outside the 24 hours after the recipient's last message only templates are delivered (WhatsApp
Cloud API, "Messages"): the provider says so, Hermes cannot know.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from domain.channels import sms
from domain.channels.rules import AddressProblem, ChannelRules, ContentProblem, SenderProblem
from domain.message import Category, Content, Level

MAX_TEXT: Final = 4096
"""Characters of a text message: Cloud API, text object."""
MAX_PARAMETER: Final = 1024

CODES: Final[dict[str, str]] = {
    **{
        code: sms.CODES[code]
        for code in (
            "not_a_number",
            "number_too_short",
            "number_too_long",
            "unknown_country",
            "invalid_number",
            "empty_text",
        )
    },
    "invalid_whatsapp_sender": (
        "WhatsApp messages come from the phone number that the adapter is configured with."
    ),
    "text_too_long": f"A WhatsApp text has at most {MAX_TEXT} characters.",
    "invalid_template": (
        "A template has a name of lower-case letters, digits and _, a language as in en or en_US, "
        f"and parameters of 1 to {MAX_PARAMETER} characters without line breaks."
    ),
}

_NAME: Final = re.compile(r"[a-z0-9_]{1,512}\Z")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(_[A-Z]{2,3})?\Z")
_ONE_LINE: Final = re.compile(r"[^\n\r\t]+\Z")


def parse_address(raw: str) -> str:
    """The number in E.164. Raises AddressProblem. Fixed lines may have WhatsApp, too."""
    try:
        return sms.parse_address(raw)
    except AddressProblem as problem:
        if problem.code == "not_a_mobile":
            return raw
        raise


def parse_sender(raw: str) -> str:
    """Raises SenderProblem."""
    raise SenderProblem("invalid_whatsapp_sender", CODES["invalid_whatsapp_sender"])


def prepare(content: Content) -> Content:
    """Check the template, or else the text; raises ContentProblem."""
    template = content.template
    if template is not None:
        good = (
            _NAME.match(template.name)
            and _LANGUAGE.match(template.language)
            and all(len(p) <= MAX_PARAMETER and _ONE_LINE.match(p) for p in template.parameters)
        )
        if not good:
            raise ContentProblem("invalid_template", CODES["invalid_template"], field="template")
        return content
    if not content.text or content.text.isspace():
        raise ContentProblem("empty_text", CODES["empty_text"], field="text")
    if len(content.text) > MAX_TEXT:
        raise ContentProblem("text_too_long", CODES["text_too_long"], field="text")
    return content


RULES: Final = ChannelRules(
    name="whatsapp",
    parse_address=parse_address,
    parse_sender=parse_sender,
    prepare=prepare,
    default_success=Level.DELIVERED,
    provable=Level.READ,
    own=None,
    default_timeout={
        Category.TRANSACTIONAL: timedelta(seconds=120),
        Category.OTP: timedelta(seconds=30),
    },
    codes=CODES,
)
