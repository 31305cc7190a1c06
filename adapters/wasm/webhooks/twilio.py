"""Twilio's `X-Twilio-Signature` (https://www.twilio.com/docs/usage/webhooks/webhooks-security).

The base64 of an HMAC over the URL as Twilio called it and, of a form, each parameter's name and
value in the order of names. Of any other body the URL has the SHA-256, as `bodySHA256`. There is
no timestamp: a repeated report is told by its content.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from adapters.wasm.webhooks.request import ACCEPTED, Reason, Refused, Verdict, WebhookRequest, same

_SIGNATURE: Final = "x-twilio-signature"
_SETTINGS: Final = "x-twilio-webhooks-signature-settings"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 200
_PORTS: Final = {"https": 443, "http": 80}
# Without the settings, which came with Twilio's shared keys, it is SHA-1.
_HASHES: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def verify(auth_token: str, request: WebhookRequest) -> Verdict:
    """Check a request. `auth_token` is the account's, or the shared key's secret."""
    signature = request.header(_SIGNATURE)
    if not signature:
        return Refused(Reason.MISSING)
    digest = _HASHES.get(_algorithm(request.header(_SETTINGS) or ""))
    if digest is None:
        return Refused(Reason.UNSUPPORTED)
    try:
        urls = _spellings(request.url)
        parameters = _signed_parameters(request)
    except ValueError:
        return Refused(Reason.MALFORMED)
    if parameters is None:
        return Refused(Reason.MISMATCH)
    good = False
    for url in urls:
        mac = hmac.digest(auth_token.encode(), (url + parameters).encode(), digest)
        good |= same(base64.b64encode(mac).decode(), signature)
    return ACCEPTED if good else Refused(Reason.MISMATCH)


def _algorithm(settings: str) -> str:
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def _signed_parameters(request: WebhookRequest) -> str | None:
    """What follows the URL in the signed text; None when the body is not the one signed.

    Raises ValueError when the body or the query cannot be read.
    """
    content_type = request.header("content-type") or ""
    if content_type.partition(";")[0].strip().lower() == _FORM:
        fields = parse_qsl(
            request.body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
        # As Twilio's libraries: a value that comes twice under one name counts once.
        return "".join(name + value for name, value in sorted(set(fields)))
    query = parse_qsl(urlsplit(request.url).query, max_num_fields=_MOST_FIELDS)
    said = next((value for name, value in query if name == "bodySHA256"), None)
    if said is None:
        # Nothing that was signed speaks of a body.
        return None if request.body else ""
    return "" if same(hashlib.sha256(request.body).hexdigest(), said) else None


def _spellings(url: str) -> list[str]:
    """The URL as it stands, without its port, and with the scheme's own.

    What Twilio signs has the port or not, whatever it called; its libraries try both.
    """
    parts = urlsplit(url)
    authority = parts.netloc
    port = parts.port
    bare = authority if port is None else authority.removesuffix(f":{port}")
    named = f"{bare}:{port or _PORTS[parts.scheme]}" if parts.scheme in _PORTS else authority
    before, _, after = url.partition(authority)
    return list(dict.fromkeys([url, f"{before}{bare}{after}", f"{before}{named}{after}"]))
