"""Every way in which the API says no, as RFC 9457 problem details.

`code` is the stable, closed part of the contract; titles and details are for people. The API
serves a page about each code under its `type`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

import msgspec
from starlette.responses import Response

from domain.callback import MAX_ENDPOINTS
from domain.channels import CHANNELS
from domain.channels.plan import CODES as PLAN_CODES
from domain.channels.whatsapp import MAX_TEXT
from domain.compliance.senders import CODES as SENDER_CODES
from domain.content_rules import CODES as CONTENT_CODES
from domain.failures import Fault
from domain.templates.definition import CODES as TEMPLATE_CODES

MEDIA_TYPE: Final = "application/problem+json"
PAGE: Final = "/problems/"
"""Where the pages are served; a problem's `type` is this and its code."""


class Kind(NamedTuple):
    """What all problems of one code have in common. `passes` says that the same request may be
    taken later, `fault` who could have prevented the problem, `remedy` what to do about it: all
    three follow from the status where they are left out."""

    status: int
    title: str
    documentation: str
    passes: bool | None = None
    fault: Fault | None = None
    remedy: str | None = None


PROBLEMS: Final[dict[str, Kind]] = {
    "missing_key": Kind(
        401, "No API key", "Send your API key as `Authorization: Bearer <key>`, once."
    ),
    "invalid_key": Kind(
        401,
        "Invalid API key",
        "The API key is unknown or malformed, has expired or has been revoked.",
    ),
    "scope_missing": Kind(
        403,
        "Scope missing",
        "The API key is good, but not for this: `detail` names the scope that it lacks. Whoever "
        "runs Hermes gives keys their scopes.",
    ),
    "live_key_required": Kind(
        403,
        "Live key required",
        "This is a test key: it sends test messages and looks at them. What is set up is set up "
        "for live messages as well, and takes a live key.",
    ),
    "tier_required": Kind(
        403,
        "Another tier is needed",
        "The account's tier does not have this; `detail` names the one that does. Whoever runs "
        "Hermes changes it.",
    ),
    "tenant_suspended": Kind(
        403,
        "Tenant suspended",
        "Your account is suspended: no message is accepted until whoever runs Hermes lifts that. "
        "What was accepted before and is still to be sent fails when its turn comes; you can look "
        "at all of it, and withdraw it.",
    ),
    "not_found": Kind(404, "Not found", "There is nothing under this path; see the API's docs."),
    "webhook_refused": Kind(
        403,
        "Webhook refused",
        "The request is not signed as the provider signs, or is too old. Compare the secrets, the "
        "address that the provider calls and `public_url` in Hermes's settings.",
        fault=Fault.PROVIDER,
    ),
    "too_many_webhooks": Kind(
        429,
        "Too many webhooks",
        "A tenant's webhooks may come only so fast, and those of an adapter that cannot read them "
        "have to wait: `detail` says which. Post it again after `Retry-After` seconds.",
    ),
    "malformed_webhook": Kind(400, "Malformed webhook", "The body is not text in UTF-8."),
    "method_not_allowed": Kind(
        405,
        "Method not allowed",
        "The `Allow` header lists the methods that this path knows.",
    ),
    "message_not_found": Kind(
        404,
        "Message not found",
        "There is no such message, or it belongs to another tenant: the two look the same.",
    ),
    "body_required": Kind(400, "Body required", "The request needs a body and has none."),
    "malformed_json": Kind(
        400, "Malformed JSON", "The body is not JSON in UTF-8; `detail` says where it breaks."
    ),
    "body_too_large": Kind(
        413, "Body too large", "`detail` names the limit. Send a large batch in several parts."
    ),
    "unsupported_media_type": Kind(
        415,
        "Unsupported media type",
        "Send the `Content-Type` that the operation names, mostly `application/json`, without a "
        "content encoding.",
    ),
    "validation_failed": Kind(
        422,
        "Validation failed",
        "`errors` lists the faults, each with a code, a JSON Pointer into the body or the name of "
        "the query parameter, and a sentence. Addresses, plan and content are looked at once every "
        "field has its shape: more faults may come then. Nothing was accepted.",
    ),
    "invalid_idempotency_key": Kind(
        400,
        "Invalid idempotency key",
        "An `Idempotency-Key` is 1 to 255 printable ASCII characters, sent once.",
    ),
    "content_refused": Kind(
        422,
        "Content refused",
        "Your account's content rules refuse the message: `errors` lists every rule that does, "
        "what it found (of one rule in one text, the first 20), and where. Nothing was accepted.",
    ),
    "compliance_refused": Kind(
        422,
        "Compliance refused",
        "The recipient's country, or your account's settings for it, refuse the message: `errors` "
        "lists the reasons. Nothing was accepted.",
    ),
    "unsubscribing_impossible": Kind(
        422,
        "Unsubscribing impossible",
        "Marketing by e-mail carries a link to unsubscribe by, and this Hermes has no public https "
        "address that it could lead to. Nothing was accepted.",
        fault=Fault.HERMES,
        remedy="Ask whoever runs Hermes to set `public_url`; other channels and categories work.",
    ),
    "duplicate_content": Kind(
        409,
        "Duplicate content",
        "The same content went to the same addresses within the window that the request, or your "
        "account, asks to be checked; `message` is the first one's id. Nothing was accepted.",
        passes=True,
        remedy="Look at the message that `message` names: it is sent. The same content is taken "
        "again when the window is over.",
    ),
    "recipient_suppressed": Kind(
        422,
        "Recipient suppressed",
        "The recipient may not be written to on any channel of the plan: `detail` says why. Take "
        "the address off your list, or look it up at `/v1/suppressions/lookup`; an entry that the "
        "person made should stay. Nothing was accepted.",
    ),
    "rate_limited": Kind(
        429,
        "Too many messages",
        "Your account, or this API key, sends or changes templates faster than it may. Nothing was "
        "accepted. Repeat after `Retry-After` seconds; of messages, `RateLimit` and "
        "`RateLimit-Policy` say what there is.",
    ),
    "recipient_capped": Kind(
        429,
        "Recipient has had enough",
        "The recipient has been sent as many messages of this category as your account allows. "
        "Nothing was accepted. There is room for one after `Retry-After` seconds.",
    ),
    "quota_exceeded": Kind(
        429,
        "Daily quota exceeded",
        "Your account's messages of the day, which ends at midnight UTC, are used up; on the day "
        "when the quota is set, those from then on count. Nothing was accepted. `Retry-After` "
        "leads to the next day.",
    ),
    "suppression_not_found": Kind(
        404,
        "Suppression not found",
        "There is no such entry on your list, or it belongs to another tenant: the two look the "
        "same.",
    ),
    "import_not_found": Kind(
        404,
        "Import not found",
        "There is no such import, or it belongs to another tenant: the two look the same.",
    ),
    "import_busy": Kind(
        409,
        "Import under way",
        "Your account has another import under way. Begin the next one when it has ended.",
        passes=True,
    ),
    "invalid_unsubscribe_link": Kind(
        404, "Invalid unsubscribe link", "The link is not one of ours, or was cut off on its way."
    ),
    "idempotency_key_reused": Kind(
        422,
        "Idempotency key reused",
        "This key came before with a different request. Use a new key for each new message and "
        "repeat a request unchanged.",
    ),
    "request_in_progress": Kind(
        409,
        "Request in progress",
        "An earlier request about this message is not finished: the first one with this "
        "idempotency key, the one that sends the message, or one of the same content that may "
        "still come to nothing. Repeat after `Retry-After` seconds.",
        passes=True,
    ),
    "already_ended": Kind(
        409,
        "Message has ended",
        "The message has reached its final status and stays there.",
        passes=False,
    ),
    "invalid_cursor": Kind(
        400, "Invalid cursor", "Pass `next_cursor` of the page before, unchanged."
    ),
    "queue_full": Kind(
        429,
        "Too many messages waiting",
        "Your messages that wait for the carriers already take longer than they may. Nothing was "
        "accepted. Repeat after `Retry-After` seconds, more slowly.",
    ),
    "account_empty": Kind(
        402,
        "Account empty",
        "The message may come to cost something, and the account has not enough money or credit "
        "for the cheapest of its routes that have a price. `GET /v1/account` shows it; messages "
        "are accepted again within seconds of a payment. What has no price is accepted all the "
        "same.",
    ),
    "account_not_found": Kind(
        404,
        "No account",
        "No account is kept for you: what is sent is charged without a limit, or free. "
        "`GET /v1/usage` shows it.",
    ),
    "carriers_down": Kind(
        429,
        "No carrier takes messages",
        "Messages already wait longer than they may, and not for their number: none of the "
        "carriers takes any, for the reasons in `detail`. Nothing was accepted. Repeat after "
        "`Retry-After` seconds.",
    ),
    "engine_unavailable": Kind(
        503,
        "Engine unavailable",
        "The message could not be handed over durably. Repeat the request after `Retry-After` "
        "seconds; with an `Idempotency-Key` that can never send twice.",
    ),
    "store_unavailable": Kind(
        503,
        "Database unavailable",
        "The database cannot be reached. Repeat the request after `Retry-After` seconds; one that "
        "sends a message only with an `Idempotency-Key`, which makes that safe.",
    ),
    "not_ready": Kind(503, "Not ready", "This process cannot take messages; `detail` says why."),
    "adapter_not_found": Kind(
        404,
        "Adapter not found",
        "There is no such adapter, or it belongs to another tenant: the two look the same.",
    ),
    "adapter_version_not_found": Kind(
        404,
        "Adapter version not found",
        "The adapter has no such version. Name it by its number, such as 1.2.0, or by the "
        "beginning of its digest, at least eight digits.",
    ),
    "adapter_refused": Kind(
        422,
        "Adapter refused",
        "The version fails a check: `check` names it, and `finding` says what was found. Of a "
        "manifest `errors` lists all faults, with JSON Pointers into manifest.json. What was in "
        "use before stays in use.",
    ),
    "adapter_configuration": Kind(
        422,
        "Adapter configuration refused",
        "`errors` lists the keys that are wrong, or `check` and `finding` say what the adapter "
        "itself has against it. The configuration of before stays.",
    ),
    "adapter_version_in_use": Kind(
        409,
        "Adapter version in use",
        "The version cannot be removed; `detail` says why.",
        passes=False,
    ),
    "adapter_no_previous": Kind(
        409,
        "No version to go back to",
        "The adapter has had no other version in use before.",
        passes=False,
    ),
    "adapter_busy": Kind(
        409,
        "Adapter is being changed",
        "Another change of your adapters is not finished, or came in between: look at the adapter "
        "again, and repeat the request.",
        passes=True,
    ),
    "template_not_found": Kind(
        404,
        "Template not found",
        "There is no such template, or it belongs to another tenant: the two look the same.",
    ),
    "template_version_not_found": Kind(
        404, "Template version not found", "The template has no such version."
    ),
    "template_exists": Kind(
        409, "Template exists", "There is a template of this name: add a version to it."
    ),
    "too_many_templates": Kind(
        409,
        "Too many templates",
        "`detail` says how many templates and versions there may be, and how long all of them "
        "together. Remove templates that nobody uses: their versions go with them.",
    ),
    "callback_not_found": Kind(
        404,
        "Callback endpoint not found",
        "There is no such endpoint, or it belongs to another tenant: the two look the same.",
    ),
    "too_many_callbacks": Kind(
        409,
        "Too many callback endpoints",
        f"A tenant has at most {MAX_ENDPOINTS} endpoints: each event is posted to every one that "
        "wants it. Remove one first.",
        passes=False,
    ),
    "internal_error": Kind(
        500,
        "Internal error",
        "Hermes failed. `instance` identifies the failure in its logs. Repeat a request that "
        "sends a message only with an `Idempotency-Key`.",
    ),
}
"""Problems of a whole request (or of one message in a batch)."""

FIELD_ERRORS: Final[dict[str, str]] = {
    "required": "The field must be there.",
    "unknown_field": "There is no such field here.",
    "unknown_parameter": "There is no such query parameter here.",
    "repeated_parameter": "The query parameter may be given once.",
    "wrong_type": "The value is of another JSON type than the field.",
    "unknown_value": "The value is none of those that the field can have.",
    "out_of_range": "The number is below or above what the field can hold.",
    "too_short": "The value has fewer characters or items than the field needs.",
    "too_long": "The value has more characters or items than the field can hold.",
    "nul_character": "Texts may not hold the character U+0000.",
    "invalid_datetime": "A time is RFC 3339 with an offset, such as 2026-01-31T09:00:00Z.",
    "no_recipient": "`to` needs at least one address.",
    "unknown_channel": "There is no such channel.",
    "empty_plan": "A plan needs at least one step; leave it out for the default plan.",
    "no_address_for_channel": "`to` has no address for the step's channel.",
    "no_provider_for_channel": (
        "No active adapter could carry this channel, or there is no provider of that name."
    ),
    "no_route": "No route of yours leads to the step's address.",
    "success_not_provable": "The channel's receipts cannot prove this level.",
    "send_at_in_past": "`send_at` is in the past.",
    "send_at_too_far": "`send_at` is further ahead than messages are kept waiting.",
    "invalid_callback_url": (
        "A callback is an absolute https URL of at most 2,048 characters, without user name, "
        "password or fragment, and with a public host."
    ),
    "invalid_value": (
        "The value is not one that a manifest may have, or that the adapter's manifest allows."
    ),
    "metadata_too_large": (
        "Metadata holds at most 20 keys of 1 to 40 characters with values of up to 500."
    ),
    "unknown_time_zone": "There is no such IANA time zone.",
    **CONTENT_CODES,
    **TEMPLATE_CODES,
    "unknown_template": "There is no template of this name.",
    "unknown_template_version": "The template has no such version.",
    "content_and_template": "A message has `content` or a `template`, not both.",
    **SENDER_CODES,
    "opt_out_hint_missing": (
        "Marketing by SMS says how to end it, such as: Reply STOP to opt out."
    ),
    "quiet_hours_outlast_ttl": (
        "The message would have to wait for the end of the recipient's quiet hours, and would "
        "expire before its plan has had its time: give it a longer `ttl`, or send it later."
    ),
    **PLAN_CODES,
    **{code: text for rules in CHANNELS.values() for code, text in rules.codes.items()},
    # Of a channel, and of the tenant's rules for another one.
    "text_too_long": (
        f"A WhatsApp text has more than {MAX_TEXT:,} characters, or an SMS more segments than the "
        "tenant's rules allow (`content.max_segments`): `detail` says which."
    ),
}
"""The codes inside the `errors` of `validation_failed`."""


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault: `pointer` is a JSON Pointer (RFC 6901) into the body, `parameter` a query key."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details. `code` is stable, `type` the path of its documentation. `check`
    and `finding` are there when an adapter is refused, `message` when it was sent before."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    instance: str | None = None
    errors: list[FieldError] = []
    check: str | None = None
    finding: str | None = None
    message: str | None = None


class Problem(Exception):
    """A request ends here, with this answer. `code` is a key of `kinds`.

    Never put a secret, another tenant's data or an internal message into `detail`.
    """

    kinds: ClassVar[Mapping[str, Kind]] = PROBLEMS
    page: ClassVar[str] = PAGE

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        instance: str | None = None,
        headers: Mapping[str, str] | None = None,
        check: str | None = None,
        finding: str | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(code, detail)
        kind = self.kinds[code]
        self.code = code
        self.status = kind.status
        self.headers = headers
        self.details = ProblemDetails(
            type=self.page + code,
            title=kind.title,
            status=kind.status,
            code=code,
            detail=detail or kind.documentation,
            instance=instance,
            errors=list(errors),
            check=check,
            finding=finding,
            message=message,
        )

    def response(self) -> Response:
        """The answer as HTTP."""
        return Response(
            msgspec.json.encode(self.details),
            self.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def validation_failed(errors: Sequence[FieldError]) -> Problem:
    """The problem of a request with these faults, at least one."""
    count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
    return Problem("validation_failed", f"The request has {count}.", errors=errors)


def engine_unavailable() -> Problem:
    """The problem of a message that Restate did not confirm."""
    return Problem("engine_unavailable", headers={"Retry-After": "2"})


def store_unavailable() -> Problem:
    """The problem of a request that needed the database while it was away."""
    return Problem("store_unavailable", headers={"Retry-After": "2"})


def pointer(location: Sequence[str | int]) -> str:
    """A path of keys and indexes as a JSON Pointer; the whole document is the empty pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
