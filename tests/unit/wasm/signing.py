"""Signs webhooks as the providers do: by their own libraries where these can sign."""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator

from adapters.wasm.manifest import MetaWebhook, SendGridWebhook, StandardWebhook, TwilioWebhook
from adapters.wasm.webhooks import WebhookRequest, verify

NOW = int(time.time())
URL = "https://hermes.example.com/v1/webhooks/acme/provider?ref=1.abc"
FORM = "application/x-www-form-urlencoded"
FORM_BODY = (
    b"Empty=&MessageSid=SM1&MessageStatus=delivered&To=%2B4520123456&Body=p%C3%A5+tide%20%26+mere"
)
JSON_BODY = '[{"event":"delivered","sg_event_id":"a","text":"på tide"}]'.encode()

TOKEN = "12345"
APP_SECRET = "app-secret"
VERIFY_TOKEN = "is-it-you?"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENDGRID_KEY = ec.generate_private_key(ec.SECP256R1())


def spki(key):
    """A public key as SendGrid's settings page shows it."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


CONFIGURED = {
    "auth_token": TOKEN,
    "public_key": spki(SENDGRID_KEY),
    "app_secret": APP_SECRET,
    "verify_token": VERIFY_TOKEN,
    "secret": WHSEC,
}


@dataclass(frozen=True)
class Case:
    """A request that is good, and the names of its header of signatures and of time."""

    scheme: object
    request: WebhookRequest
    signature: str
    timestamp: str | None = None
    configured: dict | None = None

    def verdict(self, request=None, configured=None, now=NOW):
        return verify(self.scheme, configured or CONFIGURED, request or self.request, now)


def request(headers, body, url=URL, method="POST"):
    query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    return WebhookRequest(method, url, tuple(headers.items()), body, query)


def with_header(request, name, value):
    """The request with another value of a header, or without it."""
    headers = [(key, text) for key, text in request.headers if key.lower() != name.lower()]
    if value is not None:
        headers.append((name, value))
    return replace(request, headers=tuple(headers))


TWILIO = TwilioWebhook(secret="auth_token")


def twilio_form(url=URL, body=FORM_BODY, token=TOKEN, signed_url=None, **more):
    fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    signature = RequestValidator(token).compute_signature(signed_url or url, fields, **more)
    headers = {"X-Twilio-Signature": signature, "Content-Type": f"{FORM}; charset=UTF-8"}
    return Case(
        TwilioWebhook(secret="auth_token"), request(headers, body, url), "X-Twilio-Signature"
    )


def twilio_json(url=URL, body=JSON_BODY):
    url = f"{url}&bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {
        "X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, {}),
        "Content-Type": "application/json",
    }
    return Case(
        TwilioWebhook(secret="auth_token"), request(headers, body, url), "X-Twilio-Signature"
    )


def twilio_get(url=URL + "&MessageStatus=delivered"):
    headers = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, {})}
    return Case(TWILIO, request(headers, b"", url, "GET"), "X-Twilio-Signature")


SENDGRID = "X-Twilio-Email-Event-Webhook-"


def sendgrid(body=JSON_BODY, key=SENDGRID_KEY, at=NOW):
    signature = key.sign(str(at).encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        f"{SENDGRID}Signature": base64.b64encode(signature).decode(),
        f"{SENDGRID}Timestamp": str(at),
    }
    return Case(
        SendGridWebhook(public_key="public_key"),
        request(headers, body),
        f"{SENDGRID}Signature",
        f"{SENDGRID}Timestamp",
    )


META = MetaWebhook(secret="app_secret", verify_token="verify_token")


def meta(body=JSON_BODY, secret=APP_SECRET):
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-Hub-Signature": "sha1=0"}
    return Case(META, request(headers, body), "X-Hub-Signature-256")


def standard(body=JSON_BODY, secret=WHSEC, at=NOW, webhook_id="evt_1"):
    signature = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(at, UTC), body.decode())
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }
    return Case(
        StandardWebhook(secret="secret"),
        request(headers, body),
        "webhook-signature",
        "webhook-timestamp",
    )


GOOD = {
    "twilio-form": twilio_form,
    "twilio-json": twilio_json,
    "twilio-get": twilio_get,
    "sendgrid": sendgrid,
    "meta": meta,
    "standard-webhooks": standard,
}
