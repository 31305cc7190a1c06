"""Push: an app's registration token, a title and a text, data for the app.

The push services acknowledge what they took and report nothing afterwards: acceptance (`sent`) is
the last that is heard.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, Literal

import msgspec

from domain.channels.rules import AddressProblem, ChannelRules, ContentProblem, SenderProblem
from domain.message import Category, Content, Level

MAX_PAYLOAD: Final = 4096
"""Bytes of notification and data together: FCM, "Message types", and Apple's limit."""

CODES: Final[dict[str, str]] = {
    "invalid_push_token": (
        "A push token is 8 to 4096 letters, digits or the characters - _ : . = / + without spaces."
    ),
    "invalid_push_sender": "A push has no sender: the app is what the recipient sees.",
    "push_too_large": f"Text, subject and data together exceed {MAX_PAYLOAD} bytes of JSON.",
    "reserved_push_key": (
        "FCM reserves the data keys from, message_type, collapse_key and those that begin with "
        "google or gcm."
    ),
    "empty_text": "The text is empty.",
}

_TOKEN: Final = re.compile(r"[A-Za-z0-9_:.=/+-]{8,4096}\Z")
_RESERVED: Final = re.compile(r"(from|message_type|collapse_key)\Z|google|gcm")


def parse_address(raw: str) -> str:
    """The token as it is. Raises AddressProblem."""
    if _TOKEN.match(raw) is None:
        raise AddressProblem("invalid_push_token", CODES["invalid_push_token"])
    return raw


def parse_sender(raw: str) -> str:
    """Raises SenderProblem."""
    raise SenderProblem("invalid_push_sender", CODES["invalid_push_sender"])


def prepare(content: Content) -> Content:
    """Check that the notification fits; raises ContentProblem."""
    if not content.text or content.text.isspace():
        raise ContentProblem("empty_text", CODES["empty_text"], field="text")
    if any(_RESERVED.match(key) for key in content.data):
        raise ContentProblem("reserved_push_key", CODES["reserved_push_key"], field="data")
    payload = msgspec.json.encode([content.subject, content.text, content.data])
    if len(payload) > MAX_PAYLOAD:
        at_fault = len(msgspec.json.encode(content.data)) > MAX_PAYLOAD // 2
        field: Literal["data", "text"] = "data" if at_fault else "text"
        raise ContentProblem("push_too_large", CODES["push_too_large"], field=field)
    return content


RULES: Final = ChannelRules(
    name="push",
    parse_address=parse_address,
    parse_sender=parse_sender,
    prepare=prepare,
    default_success=Level.SENT,
    provable=Level.SENT,
    own=None,
    default_timeout={
        Category.TRANSACTIONAL: timedelta(seconds=60),
        Category.OTP: timedelta(seconds=30),
    },
    codes=CODES,
)
