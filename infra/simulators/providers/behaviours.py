"""What happens to a message, chosen by its recipient: one table for each provider.

The digits and names differ from those of the SMSC simulator and the mail sink, so that a plan's
next step to the same recipient can end otherwise.
"""

from typing import Final, Literal

from msgspec import Struct

Fault = Literal["timeout", "reset", "garbage"]
Signature = Literal["good", "bad", "stale"]


class Behaviour(Struct, frozen=True):
    """What happens to one message.

    `refusal` names the provider's error that answers the request, which then is not accepted; with
    `times` only the first so many requests for that recipient are refused: a number, or
    `throttle`, the option throttle_count. `fault` is what becomes of the answer: `timeout` never
    comes, `reset` cuts the connection, `garbage` is HTML with status 200; nothing is accepted
    unless `taken`. `events` are the callbacks in their true order, each a status of the provider's
    and, after a colon, its error code. A `late` one waits for late_delay_ms, `early` ones come
    before the answer, `reordered` ones in the opposite order, `duplicated` ones twice each.
    `signature` is good, bad (made with another key) or stale (right, and an hour old).
    """

    description: str
    refusal: str | None = None
    times: int | Literal["throttle"] | None = None
    fault: Fault | None = None
    taken: bool = False
    events: tuple[str, ...] | None = None
    late: bool = False
    early: bool = False
    duplicated: bool = False
    reordered: bool = False
    signature: Signature = "good"


def _refused(what: str, refusal: str) -> Behaviour:
    return Behaviour(what, refusal=refusal)


def _ends(what: str, *events: str) -> Behaviour:
    return Behaviour(what, events=events)


_TIMEOUT: Final = Behaviour("never answered, not accepted", fault="timeout")
_TIMEOUT_TAKEN: Final = Behaviour("never answered, yet delivered", fault="timeout", taken=True)
_RESET: Final = Behaviour("the connection is reset, not accepted", fault="reset")
_RESET_TAKEN: Final = Behaviour("the connection is reset, yet delivered", fault="reset", taken=True)
_GARBAGE: Final = Behaviour("200 with a page of HTML, not accepted", fault="garbage")
_LATE: Final = Behaviour("delivered after --late-delay-ms", late=True)
_SILENT: Final = Behaviour("accepted, no callback ever", events=())
_EARLY: Final = Behaviour("the callbacks come before the answer", early=True)
_DUPLICATED: Final = Behaviour("every callback comes twice", duplicated=True)
_REORDERED: Final = Behaviour("the callbacks come in the opposite order", reordered=True)
_BAD_SIGNATURE: Final = Behaviour("the callbacks' signatures are wrong", signature="bad")
_STALE: Final = Behaviour("the callbacks' signatures are an hour old", signature="stale")

DELIVERED: Final = Behaviour("accepted, then delivered")

TWILIO: Final[dict[str, Behaviour]] = {
    "9801": _LATE,
    "9802": _SILENT,
    "9803": _ends("sent, then undelivered, 30003", "sent", "undelivered:30003"),
    "9804": _EARLY,
    "9805": _refused("400, 21211: invalid number", "21211"),
    "9806": Behaviour("429 for the first --throttle-count requests", "20429", times="throttle"),
    "9807": _refused("500", "20500"),
    "9808": _TIMEOUT,
    "9809": _TIMEOUT_TAKEN,
    "9810": _RESET,
    "9811": _RESET_TAKEN,
    "9812": _DUPLICATED,
    "9813": _REORDERED,
    "9814": _BAD_SIGNATURE,
    "9815": _GARBAGE,
    "9816": _refused("429 with Retry-After, every time", "20429"),
    "9817": Behaviour("500 once, then delivered", refusal="20500", times=1),
    "9818": _refused("503", "20503"),
    "9820": _refused("400, 21610: opted out", "21610"),
    "9821": _refused("400, 21614: no mobile number", "21614"),
    "9822": _refused("400, 21408: country not permitted", "21408"),
    "9823": _ends("failed, 30007: filtered", "failed:30007"),
    "9824": _ends("undelivered, 30005: unknown number", "sent", "undelivered:30005"),
    "9825": _ends("undelivered, 30006: landline", "sent", "undelivered:30006"),
    "9826": _ends("failed, 30036: validity period expired", "failed:30036"),
    "9827": _ends("failed, 30008: unknown error", "sent", "failed:30008"),
    "9828": _ends("sent, and nothing after it", "sent"),
    "9829": _ends("every status there is on the way", "queued", "sending", "sent", "delivered"),
    "9830": _ends("delivered, then read, as with RCS", "sent", "delivered", "read"),
}
"""Twilio: by the last four digits of `To`."""

TWILIO_SENDERS: Final[dict[str, str]] = {
    "+15005550001": "21212",
    "+15005550007": "21606",
    "+15005550008": "21611",
}
"""Twilio's own test numbers: the error that a message from one gets."""

WHATSAPP: Final[dict[str, Behaviour]] = {
    "9701": _LATE,
    "9702": _SILENT,
    "9703": _ends("failed, 131026: undeliverable", "failed:131026"),
    "9704": _EARLY,
    "9705": _refused("400, 131030: not in the allowed list", "131030"),
    "9706": Behaviour("429 for the first --throttle-count requests", "130429", times="throttle"),
    "9707": _refused("500, 131000: something went wrong", "131000"),
    "9708": _TIMEOUT,
    "9709": _TIMEOUT_TAKEN,
    "9710": _RESET,
    "9711": _RESET_TAKEN,
    "9712": _DUPLICATED,
    "9713": _REORDERED,
    "9714": _BAD_SIGNATURE,
    "9715": _GARBAGE,
    "9716": _refused("429, 130429, with Retry-After, every time", "130429"),
    "9717": Behaviour("500 once, then delivered", refusal="131000", times=1),
    "9718": _refused("503, 2: service unavailable", "2"),
    "9719": _ends("delivered, then read", "sent", "delivered", "read"),
    "9720": _ends("failed, 131047: more than 24 hours", "failed:131047"),
    "9721": _ends("failed, 131049: marketing cap", "failed:131049"),
    "9722": _refused("429, 131056: pair rate", "131056"),
    "9723": _refused("403, 368: blocked for violations", "368"),
    "9724": _ends("sent, and nothing after it", "sent"),
    "9725": _ends("read, without delivered", "sent", "read"),
}
"""WhatsApp: by the last four digits of `to`."""

SENDGRID: Final[dict[str, Behaviour]] = {
    "sg-late": _LATE,
    "sg-silent": _SILENT,
    "sg-early": _EARLY,
    "sg-bounce": _ends("bounced, 5.1.1", "processed", "bounce:5.1.1"),
    "sg-blocked": _ends("bounced, type blocked, 5.7.1", "processed", "blocked:5.7.1"),
    "sg-dropped": _ends("dropped: bounced before", "dropped:Bounced Address"),
    "sg-unsubscribed": _ends("dropped: unsubscribed before", "dropped:Unsubscribed Address"),
    "sg-deferred": _ends("deferred, then delivered", "processed", "deferred", "delivered"),
    "sg-processed": _ends("processed, and nothing after it", "processed"),
    "sg-read": _ends("delivered, opened, clicked", "processed", "delivered", "open", "click"),
    "sg-machine": _ends("delivered, opened by a program", "processed", "delivered", "open:machine"),
    "sg-spam": _ends("delivered, reported as spam", "processed", "delivered", "spamreport"),
    "sg-leaves": _ends("delivered, unsubscribes", "processed", "delivered", "unsubscribe"),
    "sg-invalid": _refused("400: no valid address", "address"),
    "sg-throttled": _refused("429 with Retry-After, every time", "throttled"),
    "sg-busy": Behaviour("429 for the first --throttle-count requests", "throttled", "throttle"),
    "sg-error": _refused("500", "internal"),
    "sg-flaky": Behaviour("500 once, then delivered", refusal="internal", times=1),
    "sg-unavailable": _refused("503", "unavailable"),
    "sg-timeout": _TIMEOUT,
    "sg-unanswered": _TIMEOUT_TAKEN,
    "sg-reset": _RESET,
    "sg-cut": _RESET_TAKEN,
    "sg-garbage": _GARBAGE,
    "sg-twice": _DUPLICATED,
    "sg-reordered": _REORDERED,
    "sg-unsigned": _BAD_SIGNATURE,
    "sg-stale": _STALE,
}
"""SendGrid: by what the local part of an address begins with."""

SENDGRID_SENDERS: Final[dict[str, str]] = {"unverified": "sender"}
"""SendGrid: by what the local part of the sender begins with, the error that it gets."""

FCM: Final[dict[str, Behaviour]] = {
    "unregistered": _refused("404, UNREGISTERED", "UNREGISTERED"),
    "invalid": _refused("400, INVALID_ARGUMENT: no registration token", "INVALID_ARGUMENT"),
    "mismatch": _refused("403, SENDER_ID_MISMATCH", "SENDER_ID_MISMATCH"),
    "quota": _refused("429, QUOTA_EXCEEDED, with Retry-After, every time", "QUOTA_EXCEEDED"),
    "busy": Behaviour(
        "429 for the first --throttle-count requests", "QUOTA_EXCEEDED", times="throttle"
    ),
    "unavailable": _refused("503, UNAVAILABLE, with Retry-After", "UNAVAILABLE"),
    "internal": _refused("500, INTERNAL", "INTERNAL"),
    "flaky": Behaviour("500 once, then accepted", refusal="INTERNAL", times=1),
    "apns": _refused("401, THIRD_PARTY_AUTH_ERROR", "THIRD_PARTY_AUTH_ERROR"),
    "timeout": _TIMEOUT,
    "unanswered": Behaviour("never answered, yet accepted", fault="timeout", taken=True),
    "reset": _RESET,
    "garbage": _GARBAGE,
}
"""FCM: by what a registration token begins with."""

FCM_ACCEPTED: Final = Behaviour("accepted; FCM sends no callbacks", events=())


def by_last_digits(table: dict[str, Behaviour], number: str) -> Behaviour:
    """What happens to a phone number."""
    return table.get(number[-4:], DELIVERED)


def by_beginning(
    table: dict[str, Behaviour], text: str, otherwise: Behaviour = DELIVERED
) -> Behaviour:
    """What happens to an address or a token; the longest beginning that fits decides."""
    lowered = text.lower()
    fitting = [beginning for beginning in table if lowered.startswith(beginning)]
    return table[max(fitting, key=len)] if fitting else otherwise
