"""Our reference: the text that a provider carries along, by which its reports find our attempt.

`1.<message>.<attempt>.<version>.<MAC>`, 62 to 71 characters of `[A-Za-z0-9._-]`. The message is its
id without the prefix, the version the first eight digits of the bundle's SHA-256. The MAC also
covers tenant and adapter, which the text does not name: they are in the webhook's path, and a
reference that another tenant or adapter was given means nothing there. Whoever knows a reference
can only report on what it names, and only where the webhook's own signature is good as well.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from functools import lru_cache
from typing import Final, NamedTuple

from domain.ids import PREFIX, is_message_id

KEY_BYTES: Final = 32
"""What a key should hold."""
VERSION_DIGITS: Final = 8

_MAC_BYTES: Final = 16
_FORMAT: Final = re.compile(
    r"1\.([0-9A-Z]{26})\.([1-9][0-9]{0,9})\.([0-9a-f]{8})\.([A-Za-z0-9_-]{22})"
)
_VERSION: Final = re.compile(r"[0-9a-f]{8,64}")


class Reference(NamedTuple):
    """What a reference names. `version` is the first eight digits of the adapter's version."""

    message: str
    attempt: int
    version: str


def mint(key: bytes, tenant: str, adapter: str, message: str, attempt: int, version: str) -> str:
    """The reference of one attempt. Raises ValueError for what `read` would not give back."""
    if not is_message_id(message):
        raise ValueError("not a message id")
    if not 1 <= attempt < 10**10:
        raise ValueError("attempts are counted from 1")
    if _VERSION.fullmatch(version) is None:
        raise ValueError("a version is a SHA-256 in hexadecimal digits")
    plain = f"1.{message.removeprefix(PREFIX)}.{attempt}.{version[:VERSION_DIGITS]}"
    return f"{plain}.{_mac(key, tenant, adapter, plain)}"


def read(key: bytes, tenant: str, adapter: str, text: str) -> Reference | None:
    """What `mint` was given, or None for a text that it did not make with these arguments."""
    match = _FORMAT.fullmatch(text)
    if match is None:
        return None
    plain, _, mac = text.rpartition(".")
    if not hmac.compare_digest(_mac(key, tenant, adapter, plain), mac):
        return None
    message, attempt, version, _ = match.groups()
    return Reference(PREFIX + message, int(attempt), version)


def _mac(key: bytes, tenant: str, adapter: str, plain: str) -> str:
    mac = _begun(key, tenant, adapter).copy()
    # It has neither quotes nor backslashes.
    mac.update(f', "{plain}"]'.encode())
    return base64.urlsafe_b64encode(mac.digest()[:_MAC_BYTES]).rstrip(b"=").decode()


@lru_cache(maxsize=1_024)
def _begun(key: bytes, tenant: str, adapter: str) -> hmac.HMAC:
    """The MAC as far as it is the same for all of an adapter's references: most of its cost."""
    # JSON keeps the parts apart, whatever they hold.
    beginning = json.dumps(["hermes.adapter.reference", tenant, adapter]).removesuffix("]")
    return hmac.new(key, beginning.encode(), "sha256")
