"""What travels between the host and a guest: JSON texts, each with its type here.

The WIT (`wit/hermes-adapter.wit`) has strings only; these types are what the strings hold, and
`schemas/` is made from them (`python -m adapters.wasm.contract`). Everything that a guest returns
is untrusted: unknown keys, wrong types and figures out of bounds are refused. Free text has no
bound but the answer's own: whoever shows it cuts it.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.failures import FailureCode
from domain.message import Category, Level, Moment

CONTRACT_VERSION: Final = "1.0.0"

MAX_REPORTS: Final = 20_000
"""Reports and messages from people in one answer. SendGrid posts about a thousand at a time; a
body of at most 2 MiB, in which each takes a hundred octets, holds hardly more than these."""

HERMES_OWN: Final = frozenset(
    {
        FailureCode.TOO_LATE,
        FailureCode.TTL_EXPIRED,
        FailureCode.CANCELED,
        FailureCode.INSUFFICIENT_FUNDS,
        FailureCode.RECIPIENT_BLOCKED,
        FailureCode.ACCOUNT_SUSPENDED,
    }
)
"""What only Hermes can know, and no guest may say. The cascade repeats at once what was too late: a
guest that always said so would be asked without end."""

ErrorKind = Literal[
    "forbidden",  # the URL, a header or the method is not allowed
    "dns",  # the name was not found
    "connect",  # no connection
    "tls",  # no trusted connection
    "timeout",
    "reset",  # the connection ended before the answer did
    "too_large",  # the request or the answer is over its limit
    "limit",  # more requests than one call may make
    "secret",  # a placeholder names nothing, or the token could not be had
    "malformed",  # the answer is not HTTP
]
"""Why a request has no answer."""

OptOut = Literal["complaint", "unsubscribe"]
"""How a recipient says at the provider that he wants no more."""

_Id = Annotated[str, Meta(min_length=1, max_length=256)]
_Header = tuple[str, str]


class Template(msgspec.Struct, frozen=True):
    """A message that the provider keeps, and what fills its gaps."""

    name: str
    language: str
    parameters: tuple[str, ...] = ()


class GuestContent(msgspec.Struct, frozen=True):
    """What the recipient gets. Each channel uses the fields that it can carry."""

    text: str
    subject: str | None = None
    html: str | None = None
    template: Template | None = None
    data: dict[str, str] = {}


class Message(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """Input of on-message: one attempt to hand one message to the provider.

    `reference` goes into the provider's own field, so that its reports name it; `callback_url` is
    the webhook's public address with the reference in it. Nothing may be sent after `not_after`.
    `unsubscribe_url` is there for marketing by e-mail: it belongs into the headers List-Unsubscribe
    and List-Unsubscribe-Post (RFC 8058), and nowhere else.
    """

    id: str
    attempt: int
    channel: str
    to: str
    sender: str | None
    content: GuestContent
    category: Category
    reference: str
    callback_url: str
    not_after: Moment
    unsubscribe_url: str | None = None


class Webhook(msgspec.Struct, frozen=True):
    """Input of on-delivery-report: what the provider posted, its signature checked already."""

    method: str
    query: dict[str, str]
    content_type: str
    body: str


class HttpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that the host makes for the guest.

    `url` and header values may hold placeholders, which the host fills in: {{secret:NAME}},
    {{basic:USERKEY:SECRETKEY}} (in a header), {{token:NAME}}. They and `body` may hold what
    get-config gives in the place of a secret, which nobody else can write: a body also has the
    users' text. `timeout_ms` shortens the manifest's.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    url: Annotated[str, Meta(max_length=8_192)]
    headers: Annotated[tuple[_Header, ...], Meta(max_length=64)] = ()
    body: str = ""
    timeout_ms: Annotated[int, Meta(ge=1)] | None = None


class HttpResponse(msgspec.Struct, frozen=True):
    """The provider's answer, whatever its status. Header names are in lower case."""

    status: int
    headers: tuple[_Header, ...] = ()
    body: str = ""


class HttpError(msgspec.Struct, frozen=True):
    """There is no answer. `maybe_sent` says that the provider may have the request all the same."""

    kind: ErrorKind
    message: str
    maybe_sent: bool = False


class HttpFailure(msgspec.Struct, frozen=True):
    """Input of on-http-response in the place of an answer."""

    error: HttpError


class HttpPort(Protocol):
    """Makes the requests of one guest call, and counts them."""

    async def send(self, request: HttpRequest) -> HttpResponse | HttpError:
        """The provider's answer, or why there is none. Raises nothing but cancellation."""


class SendResult(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """What on-message found out.

    With `ok`, `level` says how far the message has come. Without, `code` says why, one of those
    that are not HERMES_OWN. `retry_after` in seconds.
    """

    ok: bool
    level: Level | None = None
    provider_ids: Annotated[tuple[_Id, ...], Meta(max_length=64)] = ()
    segments: Annotated[int, Meta(ge=1, le=255)] | None = None
    code: FailureCode | None = None
    provider_code: str | None = None
    detail: str | None = None
    retry_after: Annotated[float, Meta(ge=0, le=86_400)] | None = None

    def __post_init__(self) -> None:
        if self.ok:
            if self.level is None:
                raise ValueError("`ok` needs a `level`")
            if self.code is not None:
                raise ValueError("`ok` has no `code`")
            if self.level is Level.READ:
                raise ValueError("no answer to a send proves `read`")
        elif self.code is None:
            raise ValueError("a failure needs a `code`")


class ReportedFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A failure as a report tells of it. `code` is none of HERMES_OWN."""

    code: FailureCode
    provider_code: str | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        if self.code in HERMES_OWN:
            raise ValueError(f"{self.code.value} is only Hermes's to say")


class Report(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One thing that the provider reports about one message.

    `reference` is ours, as the report brought it back. `id` tells a repeated report from a new
    one. Exactly one of `level` and `failure` is there; `provider_status` is the provider's word.
    `opt_out` says that the recipient wants no more: marked a message as spam, or unsubscribed at
    the provider.
    """

    reference: str | None = None
    id: _Id
    level: Level | None = None
    failure: ReportedFailure | None = None
    provider_status: str | None = None
    final: bool
    at: Moment | None = None
    opt_out: OptOut | None = None

    def __post_init__(self) -> None:
        if (self.level is None) == (self.failure is None):
            raise ValueError("a report has either a `level` or a `failure`")


class InboundText(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"sender": "from"},
):
    """A message from a person. `id` tells a repeated one from a new one."""

    id: _Id
    sender: str
    to: str
    text: str
    at: Moment | None = None


class Reported(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What on-delivery-report found in a webhook's body."""

    reports: Annotated[tuple[Report, ...], Meta(max_length=MAX_REPORTS)] = ()
    inbound: Annotated[tuple[InboundText, ...], Meta(max_length=MAX_REPORTS)] = ()


class HealthResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What on-health-check found."""

    ok: bool
    detail: str | None = None


Done = TypeVar("Done")


class Answer(
    msgspec.Struct,
    Generic[Done],
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"send_http": "sendHttp"},
):
    """What a guest's export returns: a request that it waits for, or the end."""

    send_http: HttpRequest | UnsetType = UNSET
    done: Done | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.send_http is UNSET) == (self.done is UNSET):
            raise ValueError("an answer has either `sendHttp` or `done`")


SCHEMAS: Final[dict[str, Any]] = {
    "message": Message,
    "webhook": Webhook,
    "http-response": HttpResponse,
    "http-failure": HttpFailure,
    "on-message-answer": Answer[SendResult],
    "on-delivery-report-answer": Answer[Reported],
    "on-health-check-answer": Answer[HealthResult],
}
"""Every payload by the name of its schema's file."""


def schemas() -> dict[str, str]:
    """The text of each file in `schemas/`, by its name."""
    from adapters.wasm.manifest import Manifest

    return {
        f"{name}.schema.json": _schema(name, payload)
        for name, payload in {**SCHEMAS, "manifest": Manifest}.items()
    }


def _schema(name: str, payload: Any) -> str:
    (made,), components = msgspec.json.schema_components((payload,), ref_template="#/$defs/{name}")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{name}, Hermes adapter contract {CONTRACT_VERSION}",
        **made,
        "$defs": {key: _definition(key, value) for key, value in components.items()},
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _definition(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    if description := definition.get("description"):
        definition["description"] = inspect.cleandoc(description)
    if name == FailureCode.__name__:
        definition["enum"] = sorted(set(definition["enum"]) - {code.value for code in HERMES_OWN})
    if name.startswith(Answer.__name__):
        # `__post_init__` wants one of the two, of which the schema knows nothing.
        definition |= {"minProperties": 1, "maxProperties": 1}
    return definition


if __name__ == "__main__":
    directory = Path(__file__).parent / "schemas"
    directory.mkdir(exist_ok=True)
    for file, text in schemas().items():
        (directory / file).write_text(text)
    sys.exit(0)
