"""One-click unsubscribe links (RFC 8058): an address that whoever has it needs no login for.

A link names a list, an address on it by its key, and the message that it came with. It is signed,
so that nobody can take others off, and works for ever: laws want thirty days, and a mail may be
read years later. It holds no address of a person, but masked.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

import msgspec

from adapters.suppression.hashing import Hasher
from domain.delivery import DeliveryRequest
from domain.message import Category
from domain.suppression import masked, of_order

PATH: Final = "/unsubscribe/"
CHANNEL: Final = "email"
_PURPOSE: Final = b"unsubscribe"
_MAC: Final = 16
_LONGEST: Final = 1024


class Unsubscription(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a link stands for."""

    owner: str
    key: int
    masked: str
    message: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Unsubscription).decode


class UnsubscribeLinks:
    """Makes links, and reads them. `public_url` is where people reach the API, without a path."""

    def __init__(self, hasher: Hasher, public_url: str) -> None:
        self._hasher = hasher
        self._base = public_url.rstrip("/") + PATH

    def of(self, request: DeliveryRequest, channel: str) -> str | None:
        """The link of a mail; None for what needs none: all but marketing, and other channels."""
        if request.category is not Category.MARKETING or channel != CHANNEL:
            return None
        address = of_order(CHANNEL, request.to)
        said = _encode(
            Unsubscription(
                request.tenant,
                self._hasher.key(request.tenant, CHANNEL, address),
                masked(CHANNEL, address),
                request.message,
            )
        )
        token = self._hasher.mac(said, _PURPOSE) + said
        return self._base + base64.urlsafe_b64encode(token).rstrip(b"=").decode()

    def read(self, token: str) -> Unsubscription | None:
        """What a link's last part stands for; None for one that is not ours."""
        if len(token) > _LONGEST or not token.isascii():
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        mac, said = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._hasher.mac(said, _PURPOSE)):
            return None
        return _decode(said)
