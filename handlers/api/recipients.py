"""DELETE /v1/recipients: forget a person.

The address is in the body and not in the path: paths stand in the access logs of every proxy on
the way, and whoever asks to be forgotten must not be remembered there.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from adapters.retention.erasure import Erasures
from domain.channels import CHANNELS, AddressProblem
from domain.tenancy import Scope
from handlers.api import body, operation
from handlers.api.answers import encode
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, Problem, pointer, validation_failed
from handlers.api.schemas import ChannelName

MAX_BODY: Final = 4 * 1024


class RecipientBody(BaseModel):
    """Whom to forget."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    to: Annotated[
        dict[ChannelName, Annotated[str, Field(max_length=512)]],
        Field(
            min_length=1,
            max_length=len(CHANNELS),
            description="The person's addresses by channel, as in a message.",
            examples=[{"sms": "+4520123456", "email": "anna@example.com"}],
        ),
    ]


class ErasedAddress(msgspec.Struct, frozen=True):
    """What became of the messages to one address: `erased` now, `under_way` and erased once they
    have ended. With `more`, there are others, which follow by themselves within minutes."""

    erased: int
    under_way: int
    more: bool


class ErasureAnswer(msgspec.Struct, frozen=True):
    """By channel. Asking again tells what is left."""

    recipients: dict[str, ErasedAddress]


def add_routes(router: APIRouter, erasures: Erasures | None) -> None:
    """Serve the resource; without a store it answers that it is not there."""

    async def erase_recipient(request: Request) -> Response:
        """Forget a person: take the addresses, labels and whatever else names somebody out of all
        your messages to these addresses, also of those that are under way once they have ended.

        Ids, times, statuses and costs stay. So does an entry on your suppression list, which holds
        a keyed hash and no address: without it the person would be written to again. The request
        may be repeated; it is in the audit log, without the address.
        """
        if erasures is None:
            raise Problem("not_found")
        principal = principal_of(request)
        asked = body.parse(await body.read(request, MAX_BODY), RecipientBody)
        to = addresses_of(asked.to)
        actor = f"key:{principal.key_id}"
        found = await asyncio.to_thread(erasures.erase, principal.tenant, to, actor)
        answer = ErasureAnswer({channel: ErasedAddress(*one) for channel, one in found.items()})
        return Response(encode(answer), media_type="application/json")

    operation.add(
        router,
        "DELETE",
        "/v1/recipients",
        erase_recipient,
        scope=Scope.RECIPIENTS,
        tag="Recipients",
        summary="Forget a person",
        status=200,
        body="RecipientBody",
        answer="ErasureAnswer",
        problems=[
            "body_required",
            "malformed_json",
            "body_too_large",
            "unsupported_media_type",
            "validation_failed",
        ],
    )


def addresses_of(given: dict[str, str]) -> dict[str, str]:
    """In their normal form, under which messages have them. Raises Problem."""
    faults, found = [], {}
    for channel, address in given.items():
        where = pointer(("to", channel))
        rules = CHANNELS.get(channel)
        if rules is None:
            detail = f"Channels: {', '.join(CHANNELS)}."
            faults.append(FieldError("unknown_channel", detail, where))
            continue
        try:
            found[channel] = rules.parse_address(address)
        except AddressProblem as problem:
            faults.append(FieldError(problem.code, problem.detail, where))
    if faults:
        raise validation_failed(faults)
    return found
