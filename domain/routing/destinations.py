"""The calling code of a number: as fine as quality is counted, and cheap enough for each receipt.

ITU-T E.164 and the list of assigned codes (Operational Bulletin): zones 1 and 7 have codes of one
digit, these have two, and all others three.
"""

from __future__ import annotations

from typing import Final

_TWO_DIGITS: Final = """20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55
    56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98"""
_OF_TWO: Final = frozenset(_TWO_DIGITS.split())


def calling_code(digits: str) -> str:
    """`4520123456` → `45`; "" for what is no number."""
    first = digits[:1]
    if first in ("1", "7", ""):
        return first
    two = digits[:2]
    return two if two in _OF_TWO else digits[:3]


NUMBERED: Final = frozenset({"sms", "whatsapp"})
"""Channels whose addresses are telephone numbers."""


def digits_of(channel: str, address: str) -> str:
    """The digits of an address that is a number; nothing for any other address."""
    return address.removeprefix("+") if channel in NUMBERED else ""
