"""Firebase Cloud Messaging, HTTP v1, and Google's token endpoint: fcm.googleapis.com and
oauth2.googleapis.com.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send
https://developers.google.com/identity/protocols/oauth2/service-account#httprest (RFC 7523)
"""

import base64
import binascii
import json
import re
import secrets
import time
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from msgspec import Struct

from infra.simulators.providers.accounts import FcmAccount
from infra.simulators.providers.behaviours import FCM, FCM_ACCEPTED, Behaviour, by_beginning
from infra.simulators.providers.provider import Answer, Provider, Submission, json_answer

MAX_PAYLOAD: Final = 4_096
"""Octets of notification and data together."""
MAX_LIFETIME: Final = 3_600
"""Seconds from iat to exp of an assertion."""
SKEW: Final = 300
MAX_TOKENS: Final = 10_000
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES: Final = frozenset(
    {
        "https://www.googleapis.com/auth/firebase.messaging",
        "https://www.googleapis.com/auth/cloud-platform",
    }
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_:.%-]{1,4096}")
_TARGETS: Final = ("token", "topic", "condition")
_MESSAGE_FIELDS: Final = frozenset(
    {*_TARGETS, "name", "data", "notification", "android", "webpush", "apns", "fcm_options"}
)
_RESERVED: Final = re.compile(r"from|message_type|google\..*|gcm\..*")


class _Error(Struct, frozen=True):
    status: int
    name: str
    message: str
    retry_after: bool = False
    quota: bool = False


ERRORS: Final[dict[str, _Error]] = {
    "INVALID_ARGUMENT": _Error(
        400,
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
    ),
    "UNREGISTERED": _Error(404, "NOT_FOUND", "Requested entity was not found."),
    "SENDER_ID_MISMATCH": _Error(403, "PERMISSION_DENIED", "SenderId mismatch"),
    "QUOTA_EXCEEDED": _Error(
        429,
        "RESOURCE_EXHAUSTED",
        "Quota exceeded for quota metric 'Messages sent' of service 'fcm.googleapis.com'.",
        retry_after=True,
        quota=True,
    ),
    "UNAVAILABLE": _Error(
        503, "UNAVAILABLE", "The service is currently unavailable.", retry_after=True
    ),
    "INTERNAL": _Error(500, "INTERNAL", "Internal error encountered."),
    "THIRD_PARTY_AUTH_ERROR": _Error(
        401,
        "UNAUTHENTICATED",
        "Request is missing required authentication credential. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential.",
    ),
}
"""By FCM's errorCode: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode."""


class _Access(Struct):
    project_id: str
    expires_at: float


class Fcm(Provider):
    """POST messages:send with an access token, and POST /token to get one. No callbacks."""

    name = "fcm"
    internal = "INTERNAL"
    throttled = "QUOTA_EXCEEDED"

    def __init__(self, *arguments: Any) -> None:
        self._access: dict[str, _Access] = {}
        super().__init__(*arguments)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(
                "/v1/projects/{project}/messages:send",
                self.handled_by(self._judge),
            ),
            web.post("/token", self.handled_by(self._token)),
        ]

    def behaviour_of(self, recipient: str) -> Behaviour:
        return by_beginning(FCM, recipient, FCM_ACCEPTED)

    def new_id(self) -> str:
        return f"{time.time_ns() // 1000:016d}%{secrets.token_hex(8)}"

    def refuse(self, refusal: str, submission: Submission | None = None) -> Answer:
        error = ERRORS[refusal]
        details: list[dict[str, Any]] = [
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": refusal}
        ]
        if error.quota:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"subject": "project", "description": "messages a minute"}],
                }
            )
        retry_after = str(self.options.retry_after_s)
        headers = {"Retry-After": retry_after} if error.retry_after else {}
        return _google(error.status, error.name, error.message, details, headers)

    def not_found(self, request: web.Request) -> Answer:
        return Answer(404, b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", "text/html")

    def accept(self, submission: Submission, id_: str) -> Answer:
        project = submission.account.project_id
        shown = "fake_message_id" if submission.dry_run else id_
        return json_answer(200, {"name": f"projects/{project}/messages/{shown}"})

    # -- messages ---------------------------------------------------------------------------

    def _judge(self, request: web.Request, body: bytes) -> Answer | Submission:
        account = self._authenticated(request)
        if isinstance(account, Answer):
            return account
        try:
            sent = json.loads(body)
        except ValueError:
            sent = None
        if not isinstance(sent, dict):
            return _invalid("message", "Invalid JSON payload received. Unexpected token.")
        unknown = sorted(sent.keys() - {"message", "validate_only"})
        if unknown:
            return _unknown_field(unknown[0], "")
        message = sent.get("message")
        if not isinstance(message, dict):
            return _invalid("message", "Recipient of the message is not set.")
        fault = _fault(message)
        if fault is not None:
            return fault
        target = next(message[name] for name in _TARGETS if name in message)
        if "token" in message and not _TOKEN.fullmatch(target):
            return self.refuse("INVALID_ARGUMENT")
        notification = message.get("notification") or {}
        return Submission(
            account=account,
            recipients=[target],
            sender=account.project_id,
            text=str(notification.get("body", "")),
            reference=json.dumps(message.get("data", {})),
            dry_run=bool(sent.get("validate_only")),
        )

    def _authenticated(self, request: web.Request) -> FcmAccount | Answer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        access = self._access.get(token) if scheme.lower() == "bearer" else None
        if access is None or access.expires_at <= time.time():
            return _google(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, "
                "login cookie or other valid authentication credential. See "
                "https://developers.google.com/identity/sign-in/web/devconsole-project.",
                [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "ACCESS_TOKEN_EXPIRED"
                        if access
                        else "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                        "domain": "googleapis.com",
                    }
                ],
            )
        account = self._accounts.fcm.get(request.match_info["project"])
        if account is None or account.project_id != access.project_id:
            project = request.match_info["project"]
            return _google(
                403,
                "PERMISSION_DENIED",
                "Permission 'cloudmessaging.messages.create' denied on resource "
                f"'//cloudresourcemanager.googleapis.com/projects/{project}' (or it may not "
                "exist).",
                [],
            )
        return account

    # -- access tokens ----------------------------------------------------------------------

    def _token(self, _: web.Request, body: bytes) -> Answer:
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        if form.get("grant_type") != GRANT:
            return _oauth("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        account, problem = self._asserted(form.get("assertion", ""))
        if account is None:
            return problem
        now = time.time()
        self._access = {t: a for t, a in self._access.items() if a.expires_at > now - SKEW}
        while len(self._access) >= MAX_TOKENS:
            del self._access[next(iter(self._access))]
        token = "ya29.sandbox-" + secrets.token_urlsafe(48)
        lifetime = self.options.token_lifetime_s
        self._access[token] = _Access(account.project_id, now + lifetime)
        return json_answer(
            200, {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}
        )

    def _asserted(self, assertion: str) -> tuple[FcmAccount | None, Answer]:
        """Whose assertion it is, or what Google says of it."""
        try:
            head, claims, signature = assertion.split(".")
            header, claimed = json.loads(_decode(head)), json.loads(_decode(claims))
            signed, made = f"{head}.{claims}".encode(), _decode(signature)
            issued, expires = float(claimed["iat"]), float(claimed["exp"])
            issuer, audience = str(claimed["iss"]), str(claimed["aud"])
            scopes = set(str(claimed.get("scope", "")).split())
        except (ValueError, KeyError, TypeError, binascii.Error):
            return None, _oauth("invalid_request", "Bad Request")
        account = next(
            (one for one in self._accounts.fcm.all() if one.client_email == issuer), None
        )
        if account is None:
            return None, _oauth("invalid_grant", "Invalid grant: account not found")
        if header.get("alg") != "RS256":
            return None, _oauth("invalid_grant", "Invalid JWT Signature.")
        try:
            account.key.public_key().verify(made, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return None, _oauth("invalid_grant", "Invalid JWT Signature.")
        if audience != TOKEN_URI:
            return None, _oauth(
                "invalid_grant",
                "Invalid JWT: Failed audience check. The right audience is " + TOKEN_URI,
            )
        now = time.time()
        if not (now - MAX_LIFETIME - SKEW <= issued <= now + SKEW and now < expires):
            return None, _oauth("invalid_grant", _UNREASONABLE)
        if not 0 < expires - issued <= MAX_LIFETIME:
            return None, _oauth("invalid_grant", _UNREASONABLE)
        if not scopes or not scopes <= SCOPES:
            return None, _oauth(
                "invalid_scope", "Invalid OAuth scope or ID token audience provided."
            )
        return account, Answer(200)


_UNREASONABLE: Final = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


def _fault(message: dict[str, Any]) -> Answer | None:
    """What FCM says of a message that is wrong in form, None when nothing is."""
    unknown = sorted(message.keys() - _MESSAGE_FIELDS)
    if unknown:
        return _unknown_field(unknown[0], " at 'message'")
    targets = [name for name in _TARGETS if name in message]
    if len(targets) > 1:
        return _invalid(
            "message",
            "Invalid value at 'message' (oneof), oneof field 'target' is "
            f"already set. Cannot set '{targets[1]}'",
        )
    if not targets or not message[targets[0]]:
        return _invalid("message", "Recipient of the message is not set.")
    if not isinstance(message[targets[0]], str):
        return _invalid_value(f"message.{targets[0]}", message[targets[0]])
    data, notification = message.get("data", {}), message.get("notification", {})
    for name, value in (("data", data), ("notification", notification)):
        if not isinstance(value, dict):
            return _invalid_value(f"message.{name}", value)
    for number, (key, value) in enumerate(data.items()):
        if not isinstance(value, str):
            return _invalid_value(f"message.data[{number}].value", value)
        if _RESERVED.fullmatch(key):
            return _invalid("message.data", f"Invalid data payload key: {key}")
    for key, value in notification.items():
        if key not in ("title", "body", "image"):
            return _unknown_field(key, " at 'message.notification'")
        if not isinstance(value, str):
            return _invalid_value(f"message.notification.{key}", value)
    size = sum(len(k.encode()) + len(v.encode()) for k, v in {**data, **notification}.items())
    if size > MAX_PAYLOAD:
        # As FCM says it: without details.
        return _google(400, "INVALID_ARGUMENT", "Request contains an invalid argument.", None)
    return None


def _invalid(field: str, description: str) -> Answer:
    return _google(
        400,
        "INVALID_ARGUMENT",
        description,
        [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": description}],
            },
            {
                "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
                "errorCode": "INVALID_ARGUMENT",
            },
        ],
    )


def _invalid_value(field: str, value: Any) -> Answer:
    return _invalid(field, f"Invalid value at '{field}' (TYPE_STRING), {json.dumps(value)}")


def _unknown_field(name: str, place: str) -> Answer:
    return _invalid(
        "", f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.'
    )


def _google(
    status: int,
    name: str,
    message: str,
    details: list[dict[str, Any]] | None,
    headers: dict[str, str] | None = None,
) -> Answer:
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details:
        error["details"] = details
    return json_answer(status, {"error": error}, headers)


def _oauth(error: str, description: str) -> Answer:
    return json_answer(400, {"error": error, "error_description": description})


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
