"""Serving a durable handler without its durable context, as long as it takes no durable step.

A message whose first attempt settles it needs none: its input is read and its output written. For
that, the SDK's context with its queue, tasks and events is dear: it was a third of what the
endpoint spends on a message. Here the handler is tried with a context that can name things and do
nothing; the first step that it wants to take ends the trial, and the SDK's application serves the
request from its beginning.

What a trial has learnt from outside is remembered for that second run (`remembered`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NoReturn

from restate import VirtualObject
from restate._internal import (  # type: ignore[import-not-found]
    IdentityVerificationException,
    PyIdentityVerifier,
    PyVM,
    VMException,
)

from adapters.restate.stepless import SERVER

logger = logging.getLogger(__name__)

AsgiApp = Callable[..., Awaitable[None]]
_Events = list[dict[str, Any]]

_memory: ContextVar[dict[Any, Any] | None] = ContextVar("remembered", default=None)


def remembered() -> dict[Any, Any]:
    """What the handler that runs here wants to find again, should it be run once more for the same
    request."""
    memory = _memory.get()
    return {} if memory is None else memory


class StepWanted(BaseException):
    """A handler on trial wants to take a durable step. Nothing that it did so far may depend on not
    being done again."""


class Trial:
    """The context of a handler on trial."""

    def __init__(self, vm: Any, key: str) -> None:
        self._vm = vm
        self._key = key

    def key(self) -> str:
        """The object's key."""
        return self._key

    def awakeable(self, serde: Any = None) -> tuple[str, None]:
        """The id that the awakeable will have, which the durable run makes again; nothing to wait
        for."""
        name, _ = self._vm.sys_awakeable()
        return name, None

    def __getattr__(self, name: str) -> NoReturn:
        raise StepWanted(name)


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
            seen: _Events = []
            answer = await attempt(scope, receive, seen)
            if answer is None:
                await app(scope, _again(seen, receive), send)
            else:
                await _tell(receive, send, *answer)
        finally:
            _memory.reset(token)

    async def attempt(
        scope: dict[str, Any], receive: Any, seen: _Events
    ) -> tuple[Any, bytes] | None:
        """The answer's head and body, None when the SDK is to serve the request."""
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        try:
            verifier.verify(headers, served)
            vm = PyVM(headers, False, False)
        except (IdentityVerificationException, VMException):
            return None
        while not vm.is_ready_to_execute():
            event = await receive()
            seen.append(event)
            if event["type"] != "http.request":
                return None
            vm.notify_input(event.get("body", b""))
            if not event.get("more_body", False):
                return None
        started = vm.sys_input()
        if vm.is_replaying():
            return None
        try:
            outcome = await fn(Trial(vm, started.key), read(bytes(started.input)))
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


def _again(seen: _Events, receive: Any) -> Callable[[], Awaitable[Any]]:
    """The request from its beginning."""
    events = iter(seen)

    async def next_event() -> Any:
        event = next(events, None)
        if event is not None:
            return event
        return await receive()

    return next_event


async def _tell(receive: Any, send: Any, head: Any, body: bytes) -> None:
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
    while (event := await receive())["type"] == "http.request" and event.get("more_body", False):
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
