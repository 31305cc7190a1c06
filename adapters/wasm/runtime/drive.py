"""A whole call: the guest answers, the host makes the request that it waits for, and so on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import UnsetType

from adapters.wasm.contract import (
    Answer,
    HttpError,
    HttpFailure,
    HttpPort,
    HttpRequest,
    HttpResponse,
)
from adapters.wasm.runtime.faults import AdapterFailed
from adapters.wasm.runtime.imports import Call
from adapters.wasm.runtime.instance import Instance

Done = TypeVar("Done")

Ask = Callable[
    [Instance, Call, str, bytes | None, msgspec.json.Decoder[Any]], Awaitable[Answer[Any]]
]
"""Has a guest run: `Instance.ask`, wherever and whenever it may."""

_ENCODER = msgspec.json.Encoder()


@dataclass(slots=True)
class Exchange:
    """A request of the guest's; `answer` is None as long as there is none."""

    request: HttpRequest
    answer: HttpResponse | HttpError | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the provider may have acted on it, and nobody can know."""
        if self.request.method == "GET" or isinstance(self.answer, HttpResponse):
            return False
        return self.answer is None or self.answer.maybe_sent


async def drive(
    instance: Instance,
    call: Call,
    export: str,
    payload: bytes | None,
    decoder: msgspec.json.Decoder[Answer[Done]],
    http: HttpPort,
    exchanges: list[Exchange],
    ask: Ask | None = None,
) -> Done:
    """Call an export and see it through to its `done`.

    Every request is added to `exchanges` before it is made, so that the caller knows of it
    whatever happens. `ask` has the guest run somewhere else, such as in a thread; without it it
    runs right here. Raises AdapterFailed; the instance is broken then.
    """
    while True:
        if ask is None:
            answer = instance.ask(call, export, payload, decoder)
        else:
            answer = await ask(instance, call, export, payload, decoder)
        if not isinstance(answer.done, UnsetType):
            return answer.done
        request = answer.send_http
        assert not isinstance(request, UnsetType)
        # The port refuses what is over the limit; a guest that goes on asking is stopped.
        if len(exchanges) > call.limits.http_calls:
            instance.broken = True
            raise AdapterFailed(
                "requests", f"it asks for more than {call.limits.http_calls} requests in one call"
            )
        exchange = Exchange(request)
        exchanges.append(exchange)
        exchange.answer = await http.send(request)
        export = "on-http-response"
        payload = _ENCODER.encode(
            HttpFailure(exchange.answer)
            if isinstance(exchange.answer, HttpError)
            else exchange.answer
        )
