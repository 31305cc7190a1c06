"""Standard Webhooks 1.0, symmetric (https://www.standardwebhooks.com): for tenants' own adapters.

`webhook-signature` has signatures separated by spaces, of which one must be good, so that a secret
can be changed. Those that are not `v1` are passed over.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from adapters.wasm.webhooks.request import (
    ACCEPTED,
    Reason,
    Refused,
    Verdict,
    WebhookRequest,
    fresh,
    from_base64,
    same,
)

_PREFIX: Final = "whsec_"
_MOST_SIGNATURES: Final = 20


def verify(secret: str, request: WebhookRequest, now: float) -> Verdict:
    """Check a request. `secret` is base64, with or without `whsec_` before it."""
    key = _key(secret)
    if not key:
        return Refused(Reason.UNCONFIGURED)
    webhook_id = request.header("webhook-id")
    timestamp = request.header("webhook-timestamp")
    signatures = request.header("webhook-signature")
    if not webhook_id or not timestamp or not signatures:
        return Refused(Reason.MISSING)
    if wrong := fresh(timestamp, now):
        return Refused(wrong)
    said = [part.partition(",") for part in signatures.split(" ")[:_MOST_SIGNATURES]]
    known = [text for version, _, text in said if version == "v1" and text]
    if not known:
        return Refused(
            Reason.UNSUPPORTED if all(comma for _, comma, _ in said) else Reason.MALFORMED
        )
    signed = b".".join(
        (webhook_id.encode("utf-8", "surrogateescape"), timestamp.encode(), request.body)
    )
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    good = False
    for text in known:
        good |= same(expected, text)
    return ACCEPTED if good else Refused(Reason.MISMATCH)


def fault(secret: str) -> str | None:
    """What is wrong with a secret, as the rest of a sentence."""
    if not _key(secret):
        return f"is no secret of Standard Webhooks: base64, mostly with {_PREFIX} before it"
    return None


def _key(secret: str) -> bytes | None:
    return from_base64(_padded(secret.strip().removeprefix(_PREFIX)))


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
