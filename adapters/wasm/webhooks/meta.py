"""Meta's `X-Hub-Signature-256`, and its verification of an address
(https://developers.facebook.com/docs/graph-api/webhooks/getting-started).

HMAC-SHA256 with the app's secret over the raw body, in hexadecimal digits. There is no timestamp:
Meta delivers again for days. When the address is entered, Meta asks it once by GET.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from adapters.wasm.webhooks.request import (
    ACCEPTED,
    Challenge,
    Reason,
    Refused,
    Verdict,
    WebhookRequest,
    same,
)

_SIGNATURE: Final = "x-hub-signature-256"
_FORM: Final = re.compile(r"sha256=[0-9a-f]{64}")
# Meta's are numbers. What is answered is text/plain, and must be nothing else to any browser.
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def verify(app_secret: str, request: WebhookRequest) -> Verdict:
    """Check a report."""
    signature = request.header(_SIGNATURE)
    if not signature:
        return Refused(Reason.MISSING)
    if _FORM.fullmatch(signature) is None:
        return Refused(Reason.MALFORMED)
    expected = hmac.digest(app_secret.encode(), request.body, hashlib.sha256).hex()
    return ACCEPTED if same(f"sha256={expected}", signature) else Refused(Reason.MISMATCH)


def answer(verify_token: str, request: WebhookRequest) -> Verdict:
    """Check Meta's question whether this is the address that was meant."""
    mode, token = request.query.get("hub.mode"), request.query.get("hub.verify_token")
    challenge = request.query.get("hub.challenge")
    if mode is None or token is None or challenge is None:
        return Refused(Reason.MISSING)
    if mode != "subscribe":
        return Refused(Reason.UNSUPPORTED)
    if not same(verify_token, token):
        return Refused(Reason.MISMATCH)
    if _CHALLENGE.fullmatch(challenge) is None:
        return Refused(Reason.MALFORMED)
    return Challenge(challenge)
