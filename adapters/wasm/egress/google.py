"""Access tokens for a Google service account: RFC 7523, section 2.1, with a JWT by RS256
(https://developers.google.com/identity/protocols/oauth2/service-account#httprest)."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import urlencode

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

HOST: Final = "oauth2.googleapis.com"
PATH: Final = "/token"
# The account's own `token_uri` is not heeded: it would be a way to call anywhere.
_AUDIENCE: Final = f"https://{HOST}{PATH}"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME: Final = 3_600
"""Seconds, the most that Google takes."""


class ServiceAccount(msgspec.Struct, frozen=True):
    """What is needed of the JSON file that Google's console gives out."""

    client_email: str
    private_key: str
    private_key_id: str | None = None


class BadAccount(ValueError):
    """What is configured is no service account. The message holds nothing of it."""


def asked_with(account: str, scope: str, now: float) -> bytes:
    """The form that asks for a token. Takes milliseconds of CPU. Raises BadAccount."""
    try:
        parsed = msgspec.json.decode(account, type=ServiceAccount)
        key = load_pem_private_key(parsed.private_key.encode(), password=None)
    except (msgspec.DecodeError, UnicodeError):
        raise BadAccount("it is not the JSON of a service account") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadAccount("its private_key cannot be read") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadAccount("its private_key is not RSA")
    header = {"alg": "RS256", "typ": "JWT", "kid": parsed.private_key_id}
    claims = {
        "iss": parsed.client_email,
        "scope": scope,
        "aud": _AUDIENCE,
        "iat": int(now),
        "exp": int(now) + _LIFETIME,
    }
    signed = b".".join(_base64url(msgspec.json.encode(part)) for part in (header, claims))
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    assertion = b".".join((signed, _base64url(signature))).decode()
    return urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
