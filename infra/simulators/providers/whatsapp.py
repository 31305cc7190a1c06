"""WhatsApp's Cloud API: graph.facebook.com.

https://developers.facebook.com/documentation/business-messaging/whatsapp
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from msgspec import Struct

from infra.simulators.providers.accounts import WhatsAppAccount
from infra.simulators.providers.behaviours import WHATSAPP, Behaviour, Signature, by_last_digits
from infra.simulators.providers.courier import Outgoing, backoff
from infra.simulators.providers.provider import (
    Answer,
    Event,
    Provider,
    Submission,
    json_answer,
)
from infra.simulators.providers.signatures import META_SIGNATURE, sign_meta

MAX_TEXT: Final = 4_096
MAX_OPAQUE: Final = 512
"""Characters of biz_opaque_callback_data."""
MISSING_TEMPLATE: Final = "missing"
"""A template whose name begins so does not exist; any other does."""
_DIGITS: Final = re.compile(r"[0-9]{7,15}")
_NAME: Final = re.compile(r"[a-z0-9_]{1,512}")


class _Error(Struct, frozen=True):
    status: int
    title: str
    details: str


ERRORS: Final[dict[str, _Error]] = {
    "0": _Error(401, "AuthException", "We were unable to authenticate the app user."),
    "2": _Error(503, "Service temporarily unavailable", "Temporary due to downtime."),
    "100": _Error(400, "Invalid parameter", "{details}"),
    "190": _Error(401, "Invalid OAuth access token - Cannot parse access token", ""),
    "368": _Error(
        403,
        "Temporarily blocked for policies violations",
        "The WhatsApp Business Account associated with the app has been restricted or disabled "
        "for violating a platform policy.",
    ),
    "130429": _Error(429, "Rate limit hit", "Cloud API message throughput has been reached."),
    "131000": _Error(
        500, "Something went wrong", "Message failed to send due to an unknown error."
    ),
    "131008": _Error(400, "Required parameter is missing", "{details}"),
    "131009": _Error(400, "Parameter value is not valid", "{details}"),
    "131026": _Error(400, "Message undeliverable", "Message Undeliverable."),
    "131030": _Error(
        400,
        "Recipient phone number not in allowed list",
        "Recipient phone number not in allowed list: Add recipient phone number to recipient "
        "list and try again.",
    ),
    "131047": _Error(
        400,
        "Re-engagement message",
        "Message failed to send because more than 24 hours have passed since the customer last "
        "replied to this number.",
    ),
    "131049": _Error(
        400,
        "This message was not delivered to maintain healthy ecosystem engagement.",
        "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
    ),
    "131056": _Error(
        429,
        "(Business Account, Consumer Account) pair rate limit hit",
        "Message failed to send because there were too many messages sent from this phone number "
        "to the same phone number in a short period of time.",
    ),
    "132000": _Error(
        400, "Number of parameters does not match the expected number of params", "{details}"
    ),
    "132001": _Error(404, "Template name does not exist in the translation", "{details}"),
}
"""By Meta's code: …/whatsapp/support/error-codes. Code is what counts, the status is not fixed."""


class WhatsApp(Provider):
    """POST messages (text and template) with a Bearer token; signed statuses and messages."""

    name = "whatsapp"
    internal = "131000"
    throttled = "130429"
    delivered = ("sent", "delivered")

    def routes(self) -> list[web.RouteDef]:
        number = r"/v{version:\d+\.\d+}/{number:\d+}"
        return [
            web.post(f"{number}/messages", self.handled_by(self._judge)),
            web.get(number, self.handled_by(self._number)),
        ]

    def behaviour_of(self, recipient: str) -> Behaviour:
        return by_last_digits(WHATSAPP, recipient)

    def new_id(self) -> str:
        return "wamid." + base64.b64encode(secrets.token_bytes(36)).decode()

    def refuse(self, refusal: str, submission: Submission | None = None) -> Answer:
        return self._error(refusal)

    def not_found(self, request: web.Request) -> Answer:
        body = {
            "message": f"Unknown path components: {request.path}",
            "type": "OAuthException",
            "code": 2500,
            "fbtrace_id": _trace(),
        }
        return json_answer(400, {"error": body})

    def accept(self, submission: Submission, id_: str) -> Answer:
        message: dict[str, str] = {"id": id_}
        if submission.details["type"] == "template":
            message["message_status"] = "accepted"
        return json_answer(
            200,
            {
                "messaging_product": "whatsapp",
                "contacts": [
                    {"input": submission.details["input"], "wa_id": submission.recipients[0]}
                ],
                "messages": [message],
            },
        )

    def emit(
        self,
        submission: Submission,
        recipient: str,
        id_: str,
        event: Event,
        signature: Signature,
    ) -> Awaitable[None] | None:
        status: dict[str, Any] = {
            "id": id_,
            "status": event.name,
            "timestamp": str(int(event.at)),
            "recipient_id": recipient,
        }
        if submission.reference:
            status["biz_opaque_callback_data"] = submission.reference
        if event.name == "failed":
            status["errors"] = [_webhook_error(event.code)]
        else:
            # Only with sent, and with the first of delivered and read, in truth: readers of these
            # fields have to do without.
            category = "utility" if submission.details["type"] == "template" else "service"
            status["conversation"] = {
                "id": submission.details["conversation"],
                "origin": {"type": category},
            }
            status["pricing"] = {
                "billable": category != "service",
                "pricing_model": "PMP",
                "category": category,
            }
        return self._send(submission.account, {"statuses": [status]}, signature)

    def inbound(self, fields: Mapping[str, Any]) -> str:
        account = self._accounts.whatsapp.find(fields.get("account"))
        if not account.webhook:
            raise ValueError("the account has no webhook: POST /accounts to set it")
        id_ = self.new_id()
        sender = str(fields["from"]).lstrip("+")
        value = {
            "contacts": [{"profile": {"name": "Sandbox"}, "wa_id": sender}],
            "messages": [
                {
                    "from": sender,
                    "id": id_,
                    "timestamp": str(int(time.time())),
                    "type": "text",
                    "text": {"body": str(fields["text"])},
                }
            ],
        }
        self.record.counters.inbound += 1
        self._send(account, value, fields.get("signature", "good"))
        return id_

    async def verify(self, account: str | None) -> dict[str, Any]:
        found = self._accounts.whatsapp.find(account)
        if not found.webhook:
            raise ValueError("the account has no webhook: POST /accounts to set it")
        challenge = str(secrets.randbelow(2**31))
        asked = {
            "hub.mode": "subscribe",
            "hub.challenge": challenge,
            "hub.verify_token": found.verify_token,
        }
        joint = "&" if urlsplit(found.webhook).query else "?"
        status, text = await self._courier.ask(
            found.webhook + joint + urlencode(asked), self.options.callback_origin
        )
        return {"verified": status == 200 and text == challenge, "status": status, "answer": text}

    # -- requests ---------------------------------------------------------------------------

    def _judge(self, request: web.Request, body: bytes) -> Answer | Submission:
        account = self._authenticated(request)
        if isinstance(account, Answer):
            return account
        try:
            sent = json.loads(body)
        except ValueError:
            sent = None
        if not isinstance(sent, dict):
            return self._error("100", "The request body is not a JSON object.")
        if sent.get("messaging_product") != "whatsapp":
            return self._error("100", "The parameter messaging_product is required.")
        if sent.get("status") == "read":
            return json_answer(200, {"success": True})
        kind = sent.get("type", "text")
        fault = _fault(sent, kind)
        if fault is not None:
            return self._error(*fault)
        to = str(sent["to"])
        content = sent[kind]
        return Submission(
            account=account,
            recipients=[_wa_id(to)],
            sender=account.phone_number_id,
            text=content["body"] if kind == "text" else json.dumps(content),
            reference=str(sent.get("biz_opaque_callback_data", "")),
            details={"type": kind, "input": to, "conversation": secrets.token_hex(16)},
        )

    def _number(self, request: web.Request, _: bytes) -> Answer:
        account = self._authenticated(request)
        if isinstance(account, Answer):
            return account
        return json_answer(
            200,
            {
                "verified_name": "Sandbox",
                "code_verification_status": "VERIFIED",
                "display_phone_number": account.display_phone_number,
                "quality_rating": "GREEN",
                "id": account.phone_number_id,
            },
        )

    def _authenticated(self, request: web.Request) -> WhatsAppAccount | Answer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = self._accounts.whatsapp.all()
        if scheme.lower() != "bearer" or token not in {one.access_token for one in known}:
            return self._error("190")
        number = request.match_info["number"]
        account = self._accounts.whatsapp.get(number)
        if account is None or account.access_token != token:
            body = {
                "message": "Unsupported post request. Object with ID "
                f"'{number}' does not exist, cannot be loaded due to missing permissions, or "
                "does not support this operation.",
                "type": "GraphMethodException",
                "code": 100,
                "error_subcode": 33,
                "fbtrace_id": _trace(),
            }
            return json_answer(400, {"error": body})
        return account

    def _error(self, code: str, details: str = "") -> Answer:
        error = ERRORS[code]
        body: dict[str, Any] = {
            "message": f"(#{code}) {error.title}" if code != "190" else error.title,
            "type": "OAuthException",
            "code": int(code),
            "fbtrace_id": _trace(),
        }
        text = error.details.format(details=details)
        if text:
            body["error_data"] = {"messaging_product": "whatsapp", "details": text}
        retry_after = str(self.options.retry_after_s)
        headers = {"Retry-After": retry_after} if error.status in (429, 503) else {}
        return json_answer(error.status, {"error": body}, headers)

    # -- callbacks --------------------------------------------------------------------------

    def _send(
        self, account: WhatsAppAccount, value: dict[str, Any], signature: Signature
    ) -> Awaitable[None] | None:
        if not account.webhook:
            self.record.counters.callbacks_nowhere += 1
            return None
        change = {
            "field": "messages",
            "value": {
                "messaging_product": "whatsapp",
                "metadata": {
                    "display_phone_number": account.display_phone_number,
                    "phone_number_id": account.phone_number_id,
                },
                **value,
            },
        }
        body = json.dumps(
            {
                "object": "whatsapp_business_account",
                "entry": [{"id": account.business_account_id, "changes": [change]}],
            }
        ).encode()
        secret = account.app_secret if signature != "bad" else secrets.token_hex(16)
        headers = {
            META_SIGNATURE: sign_meta(secret, body),
            "User-Agent": "facebookexternalua",
            "Accept": "*/*",
        }
        options = self.options
        return self._courier.send(
            Outgoing(
                account.webhook,
                "application/json",
                body,
                signature,
                lambda: headers,
                backoff(options.callback_retries, options.callback_backoff_ms),
                options.callback_origin,
            ),
            self.record,
        )


def _fault(sent: dict[str, Any], kind: Any) -> tuple[str, str] | None:
    """The code and the details of the first thing that is wrong, None when nothing is."""
    opaque = sent.get("biz_opaque_callback_data", "")
    if not isinstance(sent.get("to"), str) or not sent["to"]:
        return "100", "The parameter to is required."
    if not _DIGITS.fullmatch(_wa_id(sent["to"])):
        return "131009", "Invalid phone number format for to."
    if kind not in ("text", "template"):
        return "131009", f"Param type must be one of {{TEXT, TEMPLATE}} here, not {kind}."
    if not isinstance(opaque, str) or len(opaque) > MAX_OPAQUE:
        return "131009", "biz_opaque_callback_data must be a string of at most 512 characters."
    content = sent.get(kind)
    if not isinstance(content, dict):
        return "131008", f"The parameter {kind} is required."
    return _text_fault(content) if kind == "text" else _template_fault(content)


def _text_fault(text: dict[str, Any]) -> tuple[str, str] | None:
    body = text.get("body")
    if not isinstance(body, str) or not body:
        return "131008", "The parameter text['body'] is required."
    if len(body) > MAX_TEXT:
        return "100", f"Param text['body'] must be at most {MAX_TEXT} characters long."
    return None


def _template_fault(template: dict[str, Any]) -> tuple[str, str] | None:
    name, language = template.get("name"), template.get("language")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "131008", "The parameter template['name'] is required."
    if not isinstance(language, dict) or not isinstance(language.get("code"), str):
        return "131008", "The parameter template['language']['code'] is required."
    if name.startswith(MISSING_TEMPLATE):
        return "132001", f"template name ({name}) does not exist in {language['code']}"
    for component in template.get("components", []):
        if not isinstance(component, dict) or component.get("type") not in (
            "header",
            "body",
            "button",
        ):
            return "131009", "Param template['components'][0]['type'] is not valid."
        for parameter in component.get("parameters", []):
            if parameter.get("type") == "text" and not parameter.get("text"):
                return "131008", "The parameter text is required for a parameter of type text."
    return None


def _webhook_error(code: str) -> dict[str, Any]:
    error = ERRORS[code]
    return {
        "code": int(code),
        "title": error.title,
        "message": error.title,
        "error_data": {"details": error.details},
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    }


def _wa_id(to: str) -> str:
    return re.sub(r"[+\s().-]", "", to)


def _trace() -> str:
    return "A" + secrets.token_urlsafe(16)
