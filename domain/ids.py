"""Message ids: `msg_` and 26 characters of Crockford's base32, which stand for 128 bits.

Fresh ids have the layout of a UUIDv7 (RFC 9562, section 5.7) and so sort by time. With an
idempotency key the id derives from the key, so that a repeated request meets the same message.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from domain.mode import Mode

PREFIX: Final = "msg_"
RANDOMNESS: Final = 10
PATTERN: Final = r"msg_[0-7][0-9A-HJKMNP-TV-Z]{25}"

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SHIFTS: Final = tuple(range(120, -1, -10))
_PATTERN: Final = re.compile(PATTERN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VERSION_7: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62
_RANDOM: Final = ((1 << 80) - 1) & ~(0xF << 76) & ~(0b11 << 62)


def fresh_id(now: datetime, randomness: bytes) -> str:
    """A new id that sorts by `now` (aware; to the millisecond).

    `randomness` is RANDOMNESS unpredictable bytes, of which 74 bits go into the id.
    """
    random = int.from_bytes(randomness[:RANDOMNESS], "big") & _RANDOM
    milliseconds = (now - _EPOCH) // _MILLISECOND
    return _encode(milliseconds << 80 | _VERSION_7 | _VARIANT | random)


def derived_id(tenant: str, key: str, index: int | None = None, *, mode: Mode = Mode.LIVE) -> str:
    """The id that belongs to a tenant's idempotency key, the same one every time.

    `index` is the item's place in a batch: the items of one batch share its key. Test keys have
    idempotency keys of their own. The key must hold no NUL, which separates the parts.
    """
    owner = tenant if mode is Mode.LIVE else f"{tenant}\1{mode.value}"
    parts = [owner, key] if index is None else [owner, key, str(index)]
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return _encode(int.from_bytes(digest[:16], "big"))


def is_message_id(text: str) -> bool:
    """True for a text that `fresh_id` or `derived_id` could have made."""
    return _PATTERN.fullmatch(text) is not None


def _encode(bits: int) -> str:
    return PREFIX + "".join([_PAIRS[bits >> shift & 0x3FF] for shift in _SHIFTS])
