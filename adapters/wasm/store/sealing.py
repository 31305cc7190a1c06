"""Secrets in the database, readable only with a key that lies outside of it."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.key_file import make_once

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FINGERPRINT_BYTES: Final = 8


class SecretsKeyError(Exception):
    """The key of the sealed secrets is missing, broken or another one; the message says which."""


class Sealer:
    """Seals with AES-256-GCM. What is sealed begins with its key's fingerprint, and opens only for
    the `place` that it was sealed for: a row that is copied to another tenant is worthless there.
    """

    def __init__(self, key: bytes, file: Path) -> None:
        self._cipher = AESGCM(key)
        self._file = file
        self._fingerprint = hashlib.sha256(b"hermes secrets key" + key).digest()[
            :_FINGERPRINT_BYTES
        ]

    def seal(self, text: str, place: tuple[str, ...]) -> bytes:
        """The text for the database."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), _associated(place))
        return self._fingerprint + nonce + sealed

    def open(self, sealed: bytes, place: tuple[str, ...]) -> str:
        """The text again. Raises SecretsKeyError."""
        if not self.made(sealed):
            raise SecretsKeyError(
                f"the adapters' secrets were sealed with another key than the one in {self._file}:"
                " bring that file back, or set the secrets anew"
            )
        nonce = sealed[_FINGERPRINT_BYTES : _FINGERPRINT_BYTES + _NONCE_BYTES]
        try:
            opened = self._cipher.decrypt(
                nonce, sealed[_FINGERPRINT_BYTES + _NONCE_BYTES :], _associated(place)
            )
        except InvalidTag:
            raise SecretsKeyError(
                f"the secret {' '.join(place)} was changed in the database: set it anew"
            ) from None
        return opened.decode()

    def made(self, sealed: bytes) -> bool:
        """Whether this key sealed it."""
        return sealed.startswith(self._fingerprint)


def load_key(file: Path, *, needed: bool) -> Sealer:
    """The key in a file. Without a file one is made up, for its owner only, by whichever process
    comes first, and is on disk when this returns.

    Raises SecretsKeyError for a file that is no key, and for a missing one that is `needed`: what
    is sealed already could never be opened with a new key.
    """
    try:
        return _read(file)
    except FileNotFoundError:
        if needed:
            raise SecretsKeyError(
                f"{file} is missing, and adapters have secrets that only the key in it opens: "
                "bring the file back from where the data directory came from"
            ) from None
    make_once(file, secrets.token_hex(_KEY_BYTES))
    return _read(file)


def _read(file: Path) -> Sealer:
    text = file.read_bytes().strip()
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SecretsKeyError(f"{file} holds no key: it should be {2 * _KEY_BYTES} hex digits")
    return Sealer(key, file)


def _associated(place: tuple[str, ...]) -> bytes:
    return b"\0".join(part.encode() for part in place)
