"""Twilio's Programmable Messaging: api.twilio.com.

https://www.twilio.com/docs/messaging/api/message-resource
"""

import base64
import binascii
import re
import secrets
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from aiohttp import web
from msgspec import Struct

from domain.sms.segmentation import segment
from infra.simulators.providers.accounts import TwilioAccount
from infra.simulators.providers.behaviours import (
    TWILIO,
    TWILIO_SENDERS,
    Behaviour,
    Signature,
    by_last_digits,
)
from infra.simulators.providers.courier import Outgoing
from infra.simulators.providers.provider import (
    Answer,
    Event,
    Provider,
    Submission,
    json_answer,
)
from infra.simulators.providers.record import Attempt
from infra.simulators.providers.signatures import TWILIO_SIGNATURE, sign_twilio

MAX_TEXT: Final = 1_600
MAX_VALIDITY: Final = 36_000
_API_VERSION: Final = "2010-04-01"
_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER: Final = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 _&+-]{1,11}")
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_MAX_RETRIES: Final = 5


class _Error(Struct, frozen=True):
    status: int
    message: str


ERRORS: Final[dict[str, _Error]] = {
    "20003": _Error(401, "Authenticate"),
    "20404": _Error(404, "The requested resource {path} was not found"),
    "20429": _Error(429, "Too Many Requests"),
    "20500": _Error(500, "An internal server error has occurred"),
    "20503": _Error(503, "Service Unavailable"),
    "21211": _Error(400, "The 'To' number {to} is not a valid phone number."),
    "21212": _Error(
        400,
        "The 'From' number {sender} is not a valid phone number, shortcode, or "
        "alphanumeric sender ID.",
    ),
    "21408": _Error(
        400,
        "Permission to send an SMS has not been enabled for the region indicated "
        "by the 'To' number: {to}",
    ),
    "21602": _Error(400, "Message body is required."),
    "21603": _Error(400, "A 'From' phone number is required."),
    "21604": _Error(400, "A 'To' phone number is required."),
    "21606": _Error(
        400,
        "The 'From' phone number {sender} is not a valid, SMS-capable inbound "
        "phone number or short code for your account.",
    ),
    "21609": _Error(400, "The 'StatusCallback' URL {callback} is not a valid URL."),
    "21610": _Error(400, "Attempt to send to unsubscribed recipient"),
    "21611": _Error(
        429, "This 'From' number {sender} has exceeded the maximum number of queued messages"
    ),
    "21614": _Error(400, "'To' number {to} is not a valid mobile number"),
    "21617": _Error(400, "The concatenated message body exceeds the 1600 character limit."),
    "21624": _Error(400, "The 'ValidityPeriod' value is not between 1 and 36000."),
    "21701": _Error(400, "The Messaging Service does not exist."),
}
"""By Twilio's code: https://www.twilio.com/docs/api/errors. The wording is close to Twilio's."""


class Twilio(Provider):
    """POST and GET of messages, with Basic auth; status callbacks and incoming messages."""

    name = "twilio"
    internal = "20500"
    throttled = "20429"
    delivered = ("sent", "delivered")

    def routes(self) -> list[web.RouteDef]:
        accounts = f"/{_API_VERSION}/Accounts/{{account}}"
        return [
            web.post(f"{accounts}/Messages.json", self.handled_by(self._judge)),
            web.get(f"{accounts}/Messages/{{id}}.json", self.handled_by(self._message)),
            web.get(f"{accounts}.json", self.handled_by(self._account)),
        ]

    def behaviour_of(self, recipient: str) -> Behaviour:
        return by_last_digits(TWILIO, recipient)

    def new_id(self) -> str:
        return "SM" + secrets.token_hex(16)

    def refuse(self, refusal: str, submission: Submission | None = None) -> Answer:
        details = submission.details if submission else {}
        return self._error(
            refusal,
            to=submission.recipients[0] if submission else "",
            sender=submission.sender if submission else "",
            callback=str(details.get("callback", "")),
        )

    def not_found(self, request: web.Request) -> Answer:
        return self._error("20404", path=request.path)

    def accept(self, submission: Submission, id_: str) -> Answer:
        details = submission.details
        service = details["service"]
        return json_answer(
            201,
            self._resource(
                id_,
                submission.account.account_sid,
                to=submission.recipients[0],
                # With a Messaging Service the sender is chosen later.
                sender=submission.sender or None,
                service=service,
                text=submission.text,
                status="accepted" if service else "queued",
            ),
        )

    def emit(
        self,
        submission: Submission,
        recipient: str,
        id_: str,
        event: Event,
        signature: Signature,
    ) -> Awaitable[None] | None:
        url = submission.details["callback"]
        if not url:
            self.record.counters.callbacks_nowhere += 1
            return None
        form = {
            "ApiVersion": _API_VERSION,
            "AccountSid": submission.account.account_sid,
            "From": submission.sender or "+15005550006",
            "To": recipient,
            "MessageSid": id_,
            "SmsSid": id_,
            "MessageStatus": event.name,
            "SmsStatus": event.name,
        }
        if submission.details["service"]:
            form["MessagingServiceSid"] = submission.details["service"]
        if event.code:
            form["ErrorCode"] = event.code
        if event.name in ("delivered", "undelivered"):
            form["RawDlrDoneDate"] = datetime.fromtimestamp(event.at, UTC).strftime("%y%m%d%H%M")
        return self._send(submission.account, url, form, signature)

    def inbound(self, fields: Mapping[str, Any]) -> str:
        account = self._accounts.twilio.find(fields.get("account"))
        url = fields.get("url") or account.webhook
        if not fields.get("to"):
            raise ValueError("to: the account's number that somebody writes to is missing")
        if not url:
            raise ValueError("url: the account has no webhook for incoming messages")
        id_ = self.new_id()
        text = str(fields["text"])
        form = {
            "ToCountry": "",
            "MessageSid": id_,
            "SmsMessageSid": id_,
            "SmsSid": id_,
            "SmsStatus": "received",
            "NumMedia": "0",
            "NumSegments": str(_segments(text)),
            "From": str(fields["from"]),
            "To": str(fields["to"]),
            "Body": text,
            "AccountSid": account.account_sid,
            "ApiVersion": _API_VERSION,
        }
        self.record.counters.inbound += 1
        self._send(account, str(url), form, fields.get("signature", "good"))
        return id_

    # -- requests ---------------------------------------------------------------------------

    def _judge(self, request: web.Request, body: bytes) -> Answer | Submission:
        account = self._authenticated(request)
        if isinstance(account, Answer):
            return account
        try:
            form = {
                name: values[-1] for name, values in parse_qs(body.decode(), True, True).items()
            }
        except ValueError:
            form = {}
        to, sender, text = form.get("To", ""), form.get("From", ""), form.get("Body", "")
        service, callback = form.get("MessagingServiceSid", ""), form.get("StatusCallback", "")
        validity = form.get("ValidityPeriod", str(MAX_VALIDITY))
        checks = {
            "21604": bool(to),
            "21603": bool(sender or service),
            "21602": bool(text),
            "21211": _E164.fullmatch(to) is not None,
            "21212": not sender or _SENDER.fullmatch(sender) is not None,
            "21701": not service or _SERVICE.fullmatch(service) is not None,
            "21617": len(text) <= MAX_TEXT,
            "21609": not callback or _is_web(callback),
            "21624": validity.isdecimal() and 1 <= int(validity) <= MAX_VALIDITY,
        }
        for code, passed in checks.items():
            if not passed:
                return self._error(code, to=to, sender=sender, callback=callback)
        return Submission(
            account=account,
            recipients=[to],
            sender=sender,
            text=text,
            reference=callback,
            details={"callback": callback, "service": service},
            refusal=TWILIO_SENDERS.get(sender),
        )

    def _message(self, request: web.Request, _: bytes) -> Answer:
        account = self._authenticated(request)
        if isinstance(account, Answer):
            return account
        id_ = request.match_info["id"]
        for message in reversed(self.record.messages):
            if message.id == id_:
                return json_answer(
                    200,
                    self._resource(
                        id_,
                        account.account_sid,
                        to=message.to,
                        sender=message.sender or None,
                        service="",
                        text=message.text,
                        status=self._status_of(id_),
                    ),
                )
        return self.not_found(request)

    def _status_of(self, id_: str) -> str:
        """What the newest status callback of a message said."""
        for callback in reversed(self.record.callbacks):
            form = dict(parse_qsl(callback.body))
            if form.get("MessageSid") == id_:
                return form["MessageStatus"]
        return "queued"

    def _account(self, request: web.Request, _: bytes) -> Answer:
        account = self._authenticated(request)
        if isinstance(account, Answer):
            return account
        return json_answer(
            200,
            {
                "sid": account.account_sid,
                "friendly_name": "Sandbox",
                "status": "active",
                "type": "Full",
                "uri": request.path,
            },
        )

    def _authenticated(self, request: web.Request) -> TwilioAccount | Answer:
        user, password = _basic(request.headers.get("Authorization", ""))
        account = self._accounts.twilio.get(user)
        if account is None or not secrets.compare_digest(
            password.encode(), account.auth_token.encode()
        ):
            return self._error("20003")
        if request.match_info["account"] != user:
            return self.not_found(request)
        return account

    def _error(
        self, code: str, *, to: str = "", sender: str = "", callback: str = "", path: str = ""
    ) -> Answer:
        error = ERRORS[code]
        headers = {"Twilio-Request-Id": "RQ" + secrets.token_hex(16)}
        if error.status in (429, 503):
            headers["Retry-After"] = str(self.options.retry_after_s)
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
        values = {"to": to, "sender": sender, "callback": callback, "path": path}
        body = {
            "code": int(code),
            "message": error.message.format(**values),
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": error.status,
        }
        return json_answer(error.status, body, headers)

    def _resource(
        self,
        id_: str,
        account: str,
        *,
        to: str,
        sender: str | None,
        service: str,
        text: str,
        status: str,
    ) -> dict[str, Any]:
        now = format_datetime(datetime.now(UTC))
        path = f"/{_API_VERSION}/Accounts/{account}/Messages/{id_}"
        return {
            "account_sid": account,
            "api_version": _API_VERSION,
            "body": text,
            "date_created": now,
            "date_sent": None,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": sender,
            "messaging_service_sid": service or None,
            "num_media": "0",
            "num_segments": "0" if service else str(_segments(text)),
            "price": None,
            "price_unit": "USD",
            "sid": id_,
            "status": status,
            "subresource_uris": {"media": f"{path}/Media.json"},
            "to": to,
            "uri": f"{path}.json",
        }

    # -- callbacks --------------------------------------------------------------------------

    def _send(
        self, account: TwilioAccount, url: str, form: Mapping[str, str], signature: Signature
    ) -> Awaitable[None]:
        token = account.auth_token if signature != "bad" else secrets.token_hex(16)

        def headers() -> dict[str, str]:
            return {
                TWILIO_SIGNATURE: sign_twilio(token, url, form.items()),
                "I-Twilio-Idempotency-Token": idempotency,
                "User-Agent": "TwilioProxy/1.1",
                "Accept": "*/*",
            }

        idempotency = secrets.token_hex(16)
        return self._courier.send(
            Outgoing(
                url,
                _FORM,
                urlencode(form).encode(),
                signature,
                headers,
                _retry(url),
                self.options.callback_origin,
            ),
            self.record,
        )


def _retry(url: str) -> Any:
    """Twilio tries once more, and only if it could not connect, unless the URL's fragment says
    otherwise: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides."""
    overrides = dict(parse_qsl(urlsplit(url).fragment))
    count = overrides.get("rc", "1")
    retries = min(int(count), _MAX_RETRIES) if count.isdecimal() else 1
    policies = set(overrides.get("rp", "ct").split(","))

    def retry(attempt: Attempt, number: int) -> float | None:
        kinds = {"connect": "ct", "timeout": "rt", "reset": "rt"}
        kind = kinds.get(attempt.error or "", f"{(attempt.status or 0) // 100}xx")
        return 0.0 if number <= retries and policies & {kind, "all"} else None

    return retry


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _segments(text: str) -> int:
    try:
        return len(segment(text, reference=0).parts)
    except ValueError:
        return 1
