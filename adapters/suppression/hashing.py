"""What stands for an address on a list."""

from __future__ import annotations

import hashlib
from typing import Final

from domain.suppression import ID_PREFIX

_CACHED: Final = 4096
_SIGN: Final = 1 << 63
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's, as in the ids of messages."""
_DIGITS: Final = 13


class Hasher:
    """Makes keys: 64 bits of a BLAKE2b that is keyed with a secret of 32 bytes. Those of different
    purposes (of at most 16 octets) have nothing in common.

    Whoever has the database without the secret cannot try out phone numbers, nor find one person
    on two lists. Of 10 million entries, no two of different people meet but with a probability of
    3 in a million (n² / 2^65), and an address that is on no list is found on one with a
    probability of 5e-13 (n / 2^64): at 22 million messages a day and four looks each, once in 60
    years.
    """

    def __init__(self, secret: bytes, purpose: bytes = b"suppress") -> None:
        if len(secret) != 32:
            raise ValueError("the secret has 32 bytes")
        self._secret = secret
        self._purpose = purpose
        self._begun: dict[tuple[str, str], hashlib.blake2b] = {}

    def key(self, owner: str, channel: str, address: str) -> int:
        """The key of an address in its canonical form, 0 to 2^64."""
        begun = self._begun.get((owner, channel))
        if begun is None:
            if len(self._begun) >= _CACHED:
                self._begun.clear()
            begun = self.begin(owner, channel)
            self._begun[owner, channel] = begun
        hashed = begun.copy()
        hashed.update(address.encode())
        return int.from_bytes(hashed.digest(), "big")

    def begin(self, owner: str, channel: str) -> hashlib.blake2b:
        """What the keys of one list and channel begin with."""
        return hashlib.blake2b(
            f"{owner}\0{channel}\0".encode(),
            key=self._secret,
            digest_size=8,
            person=self._purpose,
        )

    @property
    def check(self) -> bytes:
        """Tells a secret from another without telling what it is."""
        return hashlib.blake2b(key=self._secret, digest_size=16, person=b"check").digest()

    def mac(self, text: bytes, purpose: bytes) -> bytes:
        """16 bytes that only a holder of the secret can make; `purpose` has at most 16 bytes."""
        return hashlib.blake2b(text, key=self._secret, digest_size=16, person=purpose).digest()


def stored(key: int) -> int:
    """A key as the database has it: with a sign, in the same order."""
    return key - _SIGN


def unstored(number: int) -> int:
    """The reverse of `stored`."""
    return number + _SIGN


def entry_id(key: int) -> str:
    """The id of an address on a list, as clients see it."""
    digits = "".join(_ALPHABET[key >> 5 * place & 31] for place in reversed(range(_DIGITS)))
    return ID_PREFIX + digits


def key_of(entry: str) -> int | None:
    """The key in an id; None for what is none."""
    digits = entry.removeprefix(ID_PREFIX)
    if digits == entry or len(digits) != _DIGITS:
        return None
    key = 0
    for digit in digits:
        place = _ALPHABET.find(digit)
        if place < 0:
            return None
        key = key << 5 | place
    return key if key < 1 << 64 else None
