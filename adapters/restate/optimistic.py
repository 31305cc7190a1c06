"""Serving a durable handler without its durable context, as long as it takes no durable step.

A message whose first attempt settles it needs none: its input is read and its output written. For
that, the SDK's context with its queue, tasks and events is dear: it was a third of what the
endpoint spends on a message. Here the handler is tried with a context that can name things and do
nothing; the first step that it wants to take ends the trial, and the SDK's application serves the
request from its beginning.

What a trial has learnt from outside is remembered for that second run (`remembered`).

A journal that has the handler's return already is answered with the end that is missing: Restate
died between the two. Nothing else could come to the same return, since what led there without a
step is not in the journal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, NoReturn

from restate import VirtualObject
from restate._internal import (  # type: ignore[import-not-found]
    IdentityVerificationException,
    PyIdentityVerifier,
    PyVM,
    VMException,
)

from adapters.restate.stepless import SERVER

# Messages of Restate's service protocol: a type of two octets, flags of two, a length of four.
_HEADER: Final = 8
_OUTPUT: Final = b"\x04\x01"
_END: Final = b"\x00\x03" + bytes(6)

AsgiApp = Callable[..., Awaitable[None]]

_memory: ContextVar[dict[Any, Any] | None] = ContextVar("remembered", default=None)


def remembered() -> dict[Any, Any]:
    """What the handler that runs here wants to find again, should it be run once more for the same
    request."""
    memory = _memory.get()
    return {} if memory is None else memory


class Request:
    """A request's events, in the order in which they come, and again from the beginning."""

    def __init__(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._receive = receive
        self._seen: list[dict[str, Any]] = []
        self._coming: asyncio.Future[dict[str, Any]] | None = None

    async def next(self) -> dict[str, Any]:
        """The next event."""
        if self._coming is None:
            event = await self._receive()
        else:
            event = await self._coming
            self._coming = None
        self._seen.append(event)
        return event

    def again(self) -> Callable[[], Awaitable[dict[str, Any]]]:
        """Receives the request from its beginning, once: what has been told is kept no more."""
        seen, self._seen = deque(self._seen), []

        async def event() -> dict[str, Any]:
            if seen:
                return seen.popleft()
            coming = await self.next()
            self._seen.clear()
            return coming

        return event

    @property
    def body(self) -> bytes:
        """What has been read of its body."""
        return b"".join(event.get("body", b"") for event in self._seen)

    def watch(self) -> None:
        """Notice from now on when whoever asks goes away."""
        self._coming = asyncio.ensure_future(self._receive())

    def abandoned(self) -> bool:
        """Whether whoever asks has gone away, as far as is known since `watch`."""
        while self._coming is not None and self._coming.done():
            event, self._coming = self._coming.result(), None
            self._seen.append(event)
            if event["type"] != "http.request":
                return True
            self.watch()
        return any(event["type"] != "http.request" for event in self._seen)


class StepWanted(BaseException):
    """A handler on trial wants to take a durable step. Nothing that it did so far may depend on not
    being done again."""


class Trial:
    """The context of a handler on trial."""

    def __init__(self, vm: Any, key: str, request: Request) -> None:
        self._vm = vm
        self._key = key
        self._request = request

    def key(self) -> str:
        """The object's key."""
        return self._key

    def insist(self) -> None:
        """See `insist`."""
        if self._request.abandoned():
            raise StepWanted

    def awakeable(self, serde: Any = None) -> tuple[str, None]:
        """The id that the awakeable will have, which the durable run makes again; nothing to wait
        for."""
        name, _ = self._vm.sys_awakeable()
        return name, None

    def __getattr__(self, name: str) -> NoReturn:
        raise StepWanted(name)


def insist(ctx: object) -> None:
    """Before something is done for good: ends a trial whose caller has gone away. Restate lets
    another process do the same, which does not know what this one knows."""
    if isinstance(ctx, Trial):
        ctx.insist()


def optimistic(
    app: AsgiApp, service: VirtualObject, handler_name: str, identity_keys: tuple[str, ...]
) -> AsgiApp:
    """`app`, the SDK's application, with one handler of an object tried here first."""
    handler = service.handlers[handler_name]
    fn: Any = handler.fn
    read = handler.handler_io.input_serde.deserialize
    write = handler.handler_io.output_serde.serialize
    served = f"/invoke/{service.name}/{handler_name}"
    verifier = PyIdentityVerifier(list(identity_keys))

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope.get("path") != served:
            await app(scope, receive, send)
            return
        token = _memory.set({})
        try:
            request = Request(receive)
            answer = await attempt(scope, request)
            if answer is not None:
                await _tell(request, send, *answer)
            elif not request.abandoned():
                await app(scope, request.again(), send)
        finally:
            _memory.reset(token)

    async def attempt(scope: dict[str, Any], request: Request) -> tuple[Any, bytes] | None:
        """The answer's head and body, None when the SDK is to serve the request."""
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        try:
            verifier.verify(headers, served)
            vm = PyVM(headers, False, False)
        except (IdentityVerificationException, VMException):
            return None
        while not vm.is_ready_to_execute():
            event = await request.next()
            if event["type"] != "http.request":
                return None
            vm.notify_input(event.get("body", b""))
            if not event.get("more_body", False):
                return None
        started = vm.sys_input()
        if vm.is_replaying():
            return (vm.get_response_head(), _END) if _returned(request.body) else None
        request.watch()
        try:
            outcome = await fn(Trial(vm, started.key, request), read(bytes(started.input)))
        except StepWanted:
            return None
        except Exception:
            # Whatever it is, the durable run meets it, too, and the SDK tells Restate.
            return None
        vm.sys_write_output_success(bytes(write(outcome)))
        vm.sys_end()
        output = b""
        while chunk := vm.take_output():
            output += bytes(chunk)
        return vm.get_response_head(), output

    return serve


def _returned(body: bytes) -> bool:
    """Whether the journal that Restate sent ends with the handler's return."""
    at = 0
    while at + _HEADER <= len(body):
        if body[at : at + 2] == _OUTPUT:
            return True
        at += _HEADER + int.from_bytes(body[at + 4 : at + _HEADER], "big")
    return False


async def _tell(request: Request, send: Any, head: Any, body: bytes) -> None:
    headers = [(name.encode(), value.encode()) for name, value in head.headers]
    await send(
        {
            "type": "http.response.start",
            "status": head.status_code,
            "headers": [*headers, SERVER],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": True})
    # As the SDK does: hypercorn forgets a stream as soon as it is answered, and drops the whole
    # connection, with every message on it, when Restate closes its side afterwards.
    more = True
    while more:
        event = await request.next()
        more = event["type"] == "http.request" and event.get("more_body", False)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
