"""Serving handlers that take no durable step: one request in, one answer out.

The SDK gives every invocation a context that could sleep, call and wait: a queue, a task that
reads it, events, a seeded generator. A delivery service on HTTP/1.1 uses none of it, and paid
0.15 ms of CPU a call for it. Here the SDK's own state machine (its shared core, which speaks
Restate's service protocol) is driven from the request's body straight to the answer.

Discovery, health and every other service stay with the SDK's application.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

from restate import Service, TerminalError
from restate._internal import (  # type: ignore[import-not-found]
    SDK_VERSION,
    IdentityVerificationException,
    PyFailure,
    PyIdentityVerifier,
    PyVM,
    VMException,
)
from restate.handler import Handler

logger = logging.getLogger(__name__)

AsgiApp = Callable[..., Awaitable[None]]

SERVER = (b"x-restate-server", f"restate-sdk-python/{SDK_VERSION}".encode())
_INVOKE = "/invoke/"
_UNAUTHORIZED = 401
_UNSUPPORTED = 415
_HANDLER_AND_INPUT = 2


class NoSteps:
    """The context of a handler that takes no durable step. Touching it is a mistake in the code,
    which ends the attempt with an error instead of losing the step."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"a handler without durable steps used the context: {name}")


NO_STEPS: Any = NoSteps()


def stepless(app: AsgiApp, services: Iterable[Service], identity_keys: Iterable[str]) -> AsgiApp:
    """`app`, the SDK's application, with the calls to `services` served here.

    Only for a process that Restate knows as HTTP/1.1 (request and response). The handlers get a
    context of no use, their inputs and answers go through the serdes that they were declared
    with. An error that is no TerminalError ends the attempt, and Restate repeats the call.
    Raises ValueError when a service keeps a journal to replay: it must be under explicit
    recovery, since a repeated call starts over here.
    """
    handlers: dict[str, Handler[Any, Any]] = {}
    for service in services:
        check_stepless(service)
        for name, handler in service.handlers.items():
            handlers[f"{_INVOKE}{service.name}/{name}"] = handler
    verifier = PyIdentityVerifier(list(identity_keys))

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        handler = handlers.get(path)
        if handler is None:
            await app(scope, receive, send)
            return
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        try:
            verifier.verify(headers, path)
        except IdentityVerificationException:
            await _answer(send, _UNAUTHORIZED, (), b"")
            return
        try:
            vm = PyVM(headers, False, True)
        except VMException as error:
            await _answer(send, _UNSUPPORTED, (), str(error).encode())
            return
        head = vm.get_response_head()
        if not await _read(vm, receive):
            return
        await _run(vm, handler)
        await _answer(send, head.status_code, head.headers, _output(vm))

    return serve


def check_stepless(service: Service) -> None:
    """Raises ValueError when the service keeps a journal to replay."""
    for name, handler in service.handlers.items():
        if not (service.explicit_recovery or handler.explicit_recovery):
            raise ValueError(f"{service.name}/{name} is not under explicit recovery")


async def _read(vm: Any, receive: Any) -> bool:
    """Feed the request's body to the state machine. False when the caller went away."""
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return False
        vm.notify_input(event.get("body", b""))
        more = event.get("more_body", False)
    vm.notify_input_closed()
    return True


async def _run(vm: Any, handler: Handler[Any, Any]) -> None:
    try:
        arguments = [NO_STEPS]
        buffer = bytes(vm.sys_input().input)
        if handler.arity == _HANDLER_AND_INPUT:
            arguments.append(handler.handler_io.input_serde.deserialize(buffer))
        answer = await handler.fn(*arguments)
        output = bytes(handler.handler_io.output_serde.serialize(answer))
    except TerminalError as error:
        metadata = list(error.metadata.items()) if error.metadata else None
        vm.sys_write_output_failure(PyFailure(error.status_code, error.message, metadata=metadata))
        vm.sys_end()
    except Exception as error:
        logger.exception("%s/%s", handler.service_tag.name, handler.name)
        vm.notify_error(repr(error), "".join(traceback.format_exception(error)), None)
    else:
        vm.sys_write_output_success(output)
        vm.sys_end()


def _output(vm: Any) -> bytes:
    chunks: list[bytes] = []
    while chunk := vm.take_output():
        chunks.append(bytes(chunk))
    return b"".join(chunks)


async def _answer(send: Any, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
    """One response of known length, which costs the server less than a chunked one."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                *((name.encode(), value.encode()) for name, value in headers),
                (b"content-length", str(len(body)).encode()),
                SERVER,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
