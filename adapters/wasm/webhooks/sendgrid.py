"""SendGrid's signed Event Webhook
(https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features).

ECDSA on P-256 with SHA-256 over the timestamp's text and the raw body. The account shows the public
key as the base64 of its SubjectPublicKeyInfo, without a PEM frame.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from adapters.wasm.webhooks.request import (
    ACCEPTED,
    Reason,
    Refused,
    Verdict,
    WebhookRequest,
    fresh,
    from_base64,
)

_SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
_TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


def verify(public_key: str, request: WebhookRequest, now: float) -> Verdict:
    """Check a request. `public_key` is base64, with or without a PEM frame and line ends."""
    key = _loaded(public_key)
    if key is None:
        return Refused(Reason.UNCONFIGURED)
    text, timestamp = request.header(_SIGNATURE), request.header(_TIMESTAMP)
    if not text or not timestamp:
        return Refused(Reason.MISSING)
    signature = from_base64(text)
    if signature is None:
        return Refused(Reason.MALFORMED)
    if wrong := fresh(timestamp, now):
        return Refused(wrong)
    try:
        key.verify(signature, timestamp.encode() + request.body, _ECDSA)
    except InvalidSignature:
        return Refused(Reason.MISMATCH)
    return ACCEPTED


def fault(public_key: str) -> str | None:
    """What is wrong with a key, as the rest of a sentence."""
    if _loaded(public_key) is None:
        return "is no verification key as SendGrid shows it: base64 of a public key on P-256"
    return None


@lru_cache(maxsize=256)
def _loaded(text: str) -> ec.EllipticCurvePublicKey | None:
    lines = [line for line in text.split() if line]
    bare = "".join(lines).removeprefix("-----BEGINPUBLICKEY-----")
    der = from_base64(bare.removesuffix("-----ENDPUBLICKEY-----"))
    if not der:
        return None
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    return key if is_p256 else None  # type: ignore[return-value]
