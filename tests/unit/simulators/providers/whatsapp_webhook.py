"""What the WhatsApp stand-in sends, judged by nobody else's code."""

import hashlib
import hmac

from infra.simulators.providers.accounts import WhatsAppAccount

ACCOUNT = WhatsAppAccount()


def value_of(call):
    body = call.json
    assert body["object"] == "whatsapp_business_account"
    [entry] = body["entry"]
    [change] = entry["changes"]
    assert (entry["id"], change["field"]) == (ACCOUNT.business_account_id, "messages")
    assert change["value"]["metadata"]["phone_number_id"] == ACCOUNT.phone_number_id
    return change["value"]


def is_signed(call):
    made = hmac.new(ACCOUNT.app_secret.encode(), call.body, hashlib.sha256).hexdigest()
    return call.headers["X-Hub-Signature-256"] == "sha256=" + made
