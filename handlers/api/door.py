"""The ASGI layer around every route: who is calling, safe headers, and no leaks when it breaks.

Closed by default: whatever is not in OPEN_PATHS needs an API key, so a new route is
authenticated without a line of its own.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.store.database import is_away
from domain.mode import Mode
from domain.ports import EngineUnavailable, KeyRing, Principal
from domain.tenancy import OF_TEST_KEYS
from domain.tenancy import Scope as KeyScope
from handlers.api.problems import PAGE, Problem, engine_unavailable, store_unavailable
from handlers.api.refusals import Refused, uncounted

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs", "/problems"})
WEBHOOKS: Final = "/v1/webhooks/"
"""The providers sign what they post; `handlers/webhooks` checks it."""
UNSUBSCRIBE: Final = "/unsubscribe/"
"""The links in mails are signed."""
OPEN_PREFIXES: Final = ("/docs/", PAGE, WEBHOOKS, UNSUBSCRIBE)

_MAX_KEY_LENGTH: Final = 512
_PRINCIPAL: Final = "hermes.principal"
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_NO_STORE: Final = (b"cache-control", b"no-store")
Endpoint = Callable[[Request], Awaitable[Response]]
_log: Final = logging.getLogger("hermes.api")


def principal_of(request: Request) -> Principal:
    """Who is calling. A KeyError means that an open route asked."""
    principal: Principal = request.scope[_PRINCIPAL]
    return principal


def require(principal: Principal, scope: KeyScope) -> None:
    """Raises Problem `scope_missing` unless the key may do this, or `live_key_required`."""
    if principal.mode is Mode.TEST and scope not in OF_TEST_KEYS:
        raise Problem("live_key_required")
    if scope not in principal.scopes:
        challenge = f'Bearer realm="hermes", error="insufficient_scope", scope="{scope.value}"'
        raise Problem(
            "scope_missing",
            f"This key may not {scope.meaning}: it lacks the scope `{scope.value}`.",
            headers={"WWW-Authenticate": challenge},
        )


class Door:
    """Wraps an ASGI app; see the module.

    `express` names the endpoints, by method and path, that are called past the app's router and
    its layers: for the busiest route they cost as much as the rest of the request. `refused` counts
    every problem that is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        express: Mapping[tuple[str, str], Endpoint],
        refused: Refused = uncounted,
    ) -> None:
        self._refused = refused
        self._app = app
        self._keys = keys
        self._express = express

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = message["headers"]
                headers.append(_NOSNIFF)
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
            await send(message)

        try:
            path = scope["path"]
            if path not in OPEN_PATHS and not path.startswith(OPEN_PREFIXES):
                scope[_PRINCIPAL] = self._authenticate(scope)
            if "\0" in path:
                # No name has it, and no database takes it.
                raise Problem("not_found")
            endpoint = self._express.get((scope["method"], path))
            if endpoint is None:
                await self._app(scope, receive, guarded_send)
            else:
                response = await endpoint(Request(scope, receive))
                await response(scope, receive, guarded_send)
        except Problem as problem:
            await self._refuse(problem, scope, receive, guarded_send)
        except EngineUnavailable:
            await self._refuse(engine_unavailable(), scope, receive, guarded_send)
        except ClientDisconnect:
            return
        except Exception as error:
            if is_away(error) and not started:
                _log.error("%s: the database is away: %s", scope["method"], error)
                await self._refuse(store_unavailable(), scope, receive, guarded_send)
                return
            incident = f"urn:uuid:{uuid.uuid4()}"
            _log.exception(
                "%s %s failed: %s",
                scope["method"],
                scope["path"],
                incident,
                extra={"incident": incident},
            )
            if started:
                raise
            failure = Problem("internal_error", instance=incident)
            await self._refuse(failure, scope, receive, guarded_send)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Principal | None = scope.get(_PRINCIPAL)
        self._refused("" if caller is None else caller.tenant, problem.code)
        await problem.response()(scope, receive, send)

    def _authenticate(self, scope: Scope) -> Principal:
        presented = [value for name, value in scope["headers"] if name == b"authorization"]
        if not presented:
            raise _unauthorized("missing_key", 'Bearer realm="hermes"')
        scheme, _, key = presented[0].decode("latin-1").partition(" ")
        key = key.strip(" ")
        if scheme.lower() != "bearer" or not key:
            raise _unauthorized("missing_key", 'Bearer realm="hermes"')
        principal = None
        if len(presented) == 1 and len(key) <= _MAX_KEY_LENGTH and key.isascii():
            principal = self._keys.authenticate(key)
        if principal is None:
            raise _unauthorized("invalid_key", 'Bearer realm="hermes", error="invalid_token"')
        return principal


def _unauthorized(code: str, challenge: str) -> Problem:
    return Problem(code, headers={"WWW-Authenticate": challenge})
