"""Whom nobody may write to, and why: the rules of the suppression lists.

An entry blocks one address, on one channel, for some categories: for one tenant, or for all.
Addresses are not kept: an entry has a keyed hash of its address, and the address masked, so that
a person who was forgotten stays suppressed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from domain.channels import CHANNELS
from domain.channels.rules import AddressProblem
from domain.failures import Failure, FailureCode
from domain.message import Category, MessageOrder
from domain.mode import Mode
from domain.sandbox import is_suppressed

EVERYBODY: Final = ""
"""In the place of a tenant: the operator's own list, which holds for all of them."""
ID_PREFIX: Final = "sup_"

_BITS: Final[dict[Category, int]] = {
    Category.OTP: 1,
    Category.TRANSACTIONAL: 2,
    Category.MARKETING: 4,
}
_ALL: Final = frozenset(Category)
_BUT_OTP: Final = frozenset({Category.TRANSACTIONAL, Category.MARKETING})


class Reason(str, Enum):
    """Why an address is on a list. One address may be on it for several."""

    MANUAL = "manual"
    STOP = "stop"
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"
    HARD_BOUNCE = "hard_bounce"


class Rule(NamedTuple):
    """What a reason implies. `number` stands for it in the index, for ever. `categories` are
    blocked unless somebody says otherwise; `lifted_by_start` says that the person can take it
    back by START."""

    number: int
    categories: frozenset[Category]
    lifted_by_start: bool
    meaning: str


RULES: Final[dict[Reason, Rule]] = {
    Reason.MANUAL: Rule(1, _ALL, False, "somebody put the address on the list, or imported it"),
    Reason.STOP: Rule(2, _BUT_OTP, True, "the person wrote STOP"),
    Reason.UNSUBSCRIBE: Rule(
        3, frozenset({Category.MARKETING}), True, "the person followed an unsubscribe link"
    ),
    Reason.COMPLAINT: Rule(4, _BUT_OTP, True, "the person marked a message as spam"),
    Reason.HARD_BOUNCE: Rule(5, _ALL, False, "the address does not exist"),
}

_MAILBOX: Final = re.compile(r"\s*(?:5[0-9]{2}[ -])?5\.1\.(?:1|2|3|6|10)\b(?!\.)")
"""RFC 3463 section 3.2 and RFC 7505, perhaps behind the reply's own code: the recipient's mailbox
or its host is not there, wrongly written, or moved. Not 5.1.7 to 5.1.9, which are about the
sender's address and the way there, nor 5.1.0, which stands for refused senders too."""


def is_hard_bounce(channel: str, failure: Failure) -> bool:
    """Whether an address is suppressed by itself after a failure: e-mail to one that does not
    exist, which a sender who keeps trying pays for with his reputation. A phone number that is
    unknown today may be somebody's tomorrow.

    Only an enhanced status code (RFC 3463) proves that. 550 alone also stands for policies, and for
    what the sender or the relay did wrong: nobody is to lose his one-time passwords by it.
    """
    if channel != "email" or failure.code is not FailureCode.RECIPIENT_INVALID:
        return False
    said = (failure.provider_code, failure.detail)
    return any(_MAILBOX.match(text) is not None for text in said if text)


_BY_NUMBER: Final = {rule.number: reason for reason, rule in RULES.items()}


class Block(NamedTuple):
    """One reason and the categories that it blocks."""

    reason: Reason
    categories: frozenset[Category]


def packed(reason: Reason, categories: int) -> int:
    """Reason and categories (`to_bits`) in one octet, as the index has them."""
    return RULES[reason].number << 3 | categories


def unpacked(octet: int) -> Block:
    """The reverse of `packed`."""
    return Block(_BY_NUMBER[octet >> 3], from_bits(octet & 7))


def bit(category: Category) -> int:
    """The bit of a category in a packed octet."""
    return _BITS[category]


def to_bits(categories: Iterable[Category]) -> int:
    """Categories as the store keeps them."""
    return sum(_BITS[category] for category in set(categories))


def from_bits(bits: int) -> frozenset[Category]:
    """The reverse of `to_bits`."""
    return frozenset(category for category, one in _BITS.items() if bits & one)


def masked(channel: str, address: str) -> str:
    """Enough of an address for its owner to recognise it, and too little to find it by."""
    if channel == "email":
        local, _, domain = address.partition("@")
        name, dot, ending = domain.rpartition(".")
        return f"{local[:1]}***@{name[:1]}***{dot}{ending}"
    if channel == "push":
        return f"{address[:4]}***"
    return f"{address[:3]}*****{address[-2:]}"


def canonical(channel: str, address: str) -> str:
    """The one form of an address that its hash is made of, of any that would reach it.

    Numbers that no plan has handed out are let pass: plans change, and blocking too much of what
    cannot be reached does no harm. Raises AddressProblem, and KeyError for an unknown channel.
    """
    if channel == "email":
        return _email(address)
    if channel in ("sms", "whatsapp"):
        return _number(channel, address)
    return CHANNELS[channel].parse_address(address)


def of_order(channel: str, address: str) -> str:
    """`canonical` of an address that the channel has put into its own form already."""
    return address.lower() if channel == "email" else address


Look = Callable[[str, str, str], bytes]
"""What is held against an address: asked with the list's owner, the channel and the address as
`of_order` has it, answers an octet (`packed`) for each reason."""


def why_suppressed(order: MessageOrder, channel: str, look: Look) -> str | None:
    """Why a message may not go out on a channel, for people; None when it may.

    The rule of the message's acceptance and of every later look. A list blocks categories, so a
    one-time password goes to who wrote STOP, and not to who has blocked everything. What is on the
    operator's list is nobody else's business.
    """
    if order.reply:
        return None
    address = order.to[channel]
    if order.mode is Mode.TEST and is_suppressed(channel, address):
        return RULES[Reason.STOP].meaning
    address = of_order(channel, address)
    held = look(order.tenant, channel, address)
    everybody = look(EVERYBODY, channel, address)
    if not held and not everybody:
        return None
    asked = bit(order.category)
    for octet in held:
        if octet & asked:
            return RULES[unpacked(octet).reason].meaning
    if any(octet & asked for octet in everybody):
        return "the operator of this service has blocked the address"
    return None


_PLAIN_EMAIL: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}\Z"
)
_LONGEST_LOCAL: Final = 64
_LONGEST_EMAIL: Final = 254


def _email(address: str) -> str:
    # Local parts may by the letter differ in case; no provider has two such mailboxes.
    plain = _PLAIN_EMAIL.match(address)
    if plain and len(address) <= _LONGEST_EMAIL and address.index("@") <= _LONGEST_LOCAL:
        return address.lower()
    return CHANNELS["email"].parse_address(address).lower()


_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z")


def _number(channel: str, address: str) -> str:
    """Parsing costs 30 µs, an import has millions: what begins with no national prefix, which
    parsing would take away, is in its normal form already."""
    if _E164.match(address) is None:
        return CHANNELS[channel].parse_address(address)
    prefix = _national_prefix(address[1:4])
    if prefix is None:
        raise AddressProblem("unknown_country", CHANNELS["sms"].codes["unknown_country"])
    length, pattern = prefix
    if pattern is None or pattern.match(address, 1 + length) is None:
        return address
    try:
        return CHANNELS[channel].parse_address(address)
    except AddressProblem:
        return address


@lru_cache(maxsize=1000)
def _national_prefix(digits: str) -> tuple[int, re.Pattern[str] | None] | None:
    """The length of the country code that three digits begin with, and what libphonenumber takes
    from the front of the number behind it."""
    for length in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length]))
        if regions is None:
            continue
        code = int(digits[:length])
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
        prefix = None if metadata is None else metadata.national_prefix_for_parsing
        return length, re.compile(prefix) if prefix else None
    return None
