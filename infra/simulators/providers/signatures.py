"""How the providers sign their callbacks."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urldefrag

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

TWILIO_SIGNATURE: Final = "X-Twilio-Signature"
SENDGRID_SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
SENDGRID_TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
META_SIGNATURE: Final = "X-Hub-Signature-256"


def sign_twilio(auth_token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """X-Twilio-Signature of a form sent to `url`, whose fragment never travels and is not signed.

    https://www.twilio.com/docs/usage/webhooks/webhooks-security
    """
    signed = urldefrag(url).url + "".join(name + value for name, value in sorted(form))
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def sign_sendgrid(key: ec.EllipticCurvePrivateKey, timestamp: str, body: bytes) -> str:
    """The Event Webhook's signature: ECDSA with SHA-256 over timestamp and body, DER in base64.

    https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
    """
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(signature).decode()


def sign_meta(app_secret: str, body: bytes) -> str:
    """X-Hub-Signature-256 of a body.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    """
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
