"""The bind pool's door for the cascade: an attempt in, its submission out, without Restate.

A small application of its own: it is on every message's way, where a framework's layers would cost
more than what is done here.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from restate import TerminalError

from adapters.smpp.door import PATH
from adapters.smpp.pool import BindPool
from handlers.delivery.options import REQUEST, SUBMISSION

_log = logging.getLogger(__name__)

AsgiApp = Callable[..., Awaitable[None]]
_LARGEST: Final = 1 << 20
"""Bytes of a request: far more than a message may have."""


def delivery_door(app: AsgiApp, pool: BindPool, key: str) -> AsgiApp:
    """`app` with the door beside it, for whoever presents `key`.

    It answers 200 and a Submission, whatever became of the attempt; 401 without the key, 405, 413,
    and what the request's fault is worth in the 400s otherwise. An error of ours is 500: then the
    same may be asked by Restate.
    """
    expected = f"Bearer {key}".encode()

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] != PATH:
            await app(scope, receive, send)
            return
        status, answer = await _answered(scope, receive)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answered(scope: dict[str, Any], receive: Any) -> tuple[int, bytes]:
        if not any(
            name == b"authorization" and hmac.compare_digest(value, expected)
            for name, value in scope["headers"]
        ):
            return HTTPStatus.UNAUTHORIZED, b""
        if scope["method"] != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, b""
        body = await _body(receive)
        if body is None:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b""
        try:
            return HTTPStatus.OK, SUBMISSION.serialize(await pool.deliver(REQUEST.read(body)))
        except TerminalError as error:
            return error.status_code, b""
        except Exception:
            _log.exception("an attempt was not answered")
            return HTTPStatus.INTERNAL_SERVER_ERROR, b""

    return serve


async def _body(receive: Any) -> bytes | None:
    """The request's body; None when it is too large. What a caller that went away left is read as
    it is, and is no request."""
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not event.get("more_body", False):
            return body
