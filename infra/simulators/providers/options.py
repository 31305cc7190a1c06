"""The options of the providers: each is a flag, and can be changed while they run, for one
provider or for all.

To add one: a field of Options and its line in OPTIONS; the flag, `GET /options`, `PATCH /options`
and `--help` follow.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from infra.simulators.options import (
    FRACTION,
    SWITCH,
    Kind,
    Option,
    as_json,
    changed,
    number,
    whole,
)


class Options(Struct, frozen=True, kw_only=True):
    """How one provider behaves. OPTIONS says what each means."""

    latency_ms: float = 0.0
    rate: float = 0.0
    fail_rate: float = 0.0
    throttle_count: int = 2
    retry_after_s: int = 1
    timeout_s: float = 120.0
    token_lifetime_s: int = 3599
    callbacks: bool = True
    callback_origin: str | None = None
    callback_delay_ms: float = 50.0
    late_delay_ms: float = 10_000.0
    batch_ms: float = 50.0
    callback_retries: int = 6
    callback_backoff_ms: float = 500.0
    duplicate: float = 0.0
    reorder: float = 0.0
    early: float = 0.0
    bad_signature: float = 0.0
    keep: int = 10_000

    def changed(self, changes: Mapping[str, Any]) -> "Options":
        """These options with some changed; values are as JSON gives them.

        Raises:
            OptionsError: a name is unknown or a value is not right; every such one is named.
        """
        return changed(self, OPTIONS, changes)

    def as_json(self) -> dict[str, Any]:
        """All of them, as `changed` takes them."""
        return as_json(self, OPTIONS)


def _read_origin(value: Any) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError
    if parts.query or parts.fragment:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc}"


_MILLISECONDS: Final = number(0, 86_400_000, metavar="MS")
_ORIGIN: Final = Kind('null, or an origin such as "http://127.0.0.1:8000"', _read_origin)

_ANSWERS: Final = "answers"
_CALLBACKS: Final = "callbacks"
_RECORD: Final = "what is remembered"

OPTIONS: Final[dict[str, Option]] = {
    "latency_ms": Option(_ANSWERS, _MILLISECONDS, "between a request and its answer"),
    "rate": Option(
        _ANSWERS, number(), "messages taken a second; the others get 429; 0: as many as come"
    ),
    "fail_rate": Option(
        _ANSWERS, FRACTION, "of the messages are answered with 500, and not accepted"
    ),
    "throttle_count": Option(
        _ANSWERS, whole(0, 1_000_000), "429s for a recipient that is to get some at first"
    ),
    "retry_after_s": Option(_ANSWERS, whole(0, 86_400), "the Retry-After of a 429 or 503"),
    "timeout_s": Option(
        _ANSWERS, number(0.01, 3_600, "SECONDS"), "a request never answered is cut after it"
    ),
    "token_lifetime_s": Option(_ANSWERS, whole(0, 86_400), "of Google's access tokens"),
    "callbacks": Option(_CALLBACKS, SWITCH, "without: none is sent"),
    "callback_origin": Option(
        _CALLBACKS, _ORIGIN, "connect there instead of to the webhook's host, which stays signed"
    ),
    "callback_delay_ms": Option(
        _CALLBACKS, _MILLISECONDS, "between the answer and the first, and from each to the next"
    ),
    "late_delay_ms": Option(
        _CALLBACKS, _MILLISECONDS, "the same before the first, for recipients that are late"
    ),
    "batch_ms": Option(_CALLBACKS, _MILLISECONDS, "SendGrid's events within it come together"),
    "callback_retries": Option(
        _CALLBACKS, whole(0, 20), "of SendGrid and WhatsApp, when the answer is not 2xx"
    ),
    "callback_backoff_ms": Option(
        _CALLBACKS, _MILLISECONDS, "before the first of these; doubled each time, up to a minute"
    ),
    "duplicate": Option(_CALLBACKS, FRACTION, "of the messages have each callback twice"),
    "reorder": Option(_CALLBACKS, FRACTION, "of the messages have them in the opposite order"),
    "early": Option(_CALLBACKS, FRACTION, "of the messages have them before the answer"),
    "bad_signature": Option(_CALLBACKS, FRACTION, "of the messages have them signed wrongly"),
    "keep": Option(
        _RECORD, whole(1, 1_000_000), "requests, messages and callbacks, each; the newest"
    ),
}
"""What can be set: the flags, and the keys of PATCH /options."""
