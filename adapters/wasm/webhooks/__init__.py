"""Who sent a webhook: the providers' signature schemes, checked by the host, without a guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from adapters.wasm.manifest import (
    MetaWebhook,
    SendGridWebhook,
    StandardWebhook,
    TwilioWebhook,
    WebhookScheme,
)
from adapters.wasm.webhooks import meta, sendgrid, standard_webhooks, twilio
from adapters.wasm.webhooks.request import (
    REPLAY_WINDOW,
    Accepted,
    Ambiguous,
    Challenge,
    Reason,
    Refused,
    Verdict,
    WebhookRequest,
)

__all__ = [
    "REPLAY_WINDOW",
    "Accepted",
    "Challenge",
    "Reason",
    "Refused",
    "Verdict",
    "WebhookRequest",
    "faults",
    "verify",
]


def faults(scheme: WebhookScheme, configured: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the keys that a scheme takes from a configuration, by their names there;
    each text completes a sentence that begins with the name.

    A key that could never verify anything is told when it is given, and not by webhooks that are
    refused without a reason. One that is not configured is none of these.
    """
    found: dict[str, str] = {}
    for name in msgspec.structs.asdict(scheme).values():
        key = _key(configured, name)
        if key is None:
            continue
        match scheme:
            case SendGridWebhook():
                fault = sendgrid.fault(key)
            case StandardWebhook():
                fault = standard_webhooks.fault(key)
            case _:
                fault = _SPACED if key != key.strip() else None
        if fault is not None:
            found[name] = fault
    return found


_SPACED: Final = "begins or ends with white space"


def verify(
    scheme: WebhookScheme, configured: Mapping[str, Any], request: WebhookRequest, now: float
) -> Verdict:
    """What the scheme says of a request: never an exception, whatever it holds.

    `configured` are the tenant's values and secrets together, by key; `now` is in seconds since
    1970. Nothing must become of a request that was refused.
    """
    try:
        return _verify(scheme, configured, request, now)
    except (Ambiguous, UnicodeEncodeError):
        return Refused(Reason.MALFORMED)


def _verify(
    scheme: WebhookScheme, configured: Mapping[str, Any], request: WebhookRequest, now: float
) -> Verdict:
    question = request.method == "GET" and isinstance(scheme, MetaWebhook)
    # Twilio can be told to report by GET; then the URL holds, and signs, everything.
    by_get = request.method == "GET" and isinstance(scheme, TwilioWebhook | MetaWebhook)
    if request.method != "POST" and not by_get:
        return Refused(Reason.METHOD)
    match scheme:
        case MetaWebhook() if question:
            name = scheme.verify_token
        case SendGridWebhook():
            name = scheme.public_key
        case _:
            name = scheme.secret
    key = _key(configured, name)
    if key is None:
        return Refused(Reason.UNCONFIGURED)
    match scheme:
        case TwilioWebhook():
            return twilio.verify(key, request)
        case SendGridWebhook():
            return sendgrid.verify(key, request, now)
        case MetaWebhook():
            return meta.answer(key, request) if question else meta.verify(key, request)
        case StandardWebhook():
            return standard_webhooks.verify(key, request, now)


def _key(configured: Mapping[str, Any], name: str) -> str | None:
    value = configured.get(name)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    # An empty key would make signatures that anybody can make.
    return value if isinstance(value, str) and value else None
