"""The control port: what was seen, who the accounts are, and what to do now."""

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Struct, field

from infra.simulators import hlr
from infra.simulators.options import OptionsError
from infra.simulators.process import ControlServer
from infra.simulators.providers.record import newest

if TYPE_CHECKING:
    from infra.simulators.providers.provider import Provider
    from infra.simulators.providers.simulator import ProviderSandbox

DEFAULT_LIMIT: Final = 200
MAX_LIMIT: Final = 10_000


class Inbound(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /inbound`: somebody writes to an account.

    `account` is what identifies it, by default the first; `to` is the number written to and `url`
    replaces the webhook, both for Twilio only.
    `repeat` sends the same message so often, each with an id of its own.
    """

    provider: str
    sender: str = field(name="from")
    text: str
    to: str | None = None
    account: str | None = None
    url: str | None = None
    signature: Literal["good", "bad"] = "good"
    repeat: int = 1


class Control(ControlServer):
    """The HTTP server beside the providers."""

    def __init__(self, sandbox: "ProviderSandbox") -> None:
        self._sandbox = sandbox
        super().__init__(
            [
                web.get("/stats", self._get_stats),
                web.get("/requests", self._get_requests),
                web.get("/messages", self._get_messages),
                web.get("/duplicates", self._get_duplicates),
                web.get("/callbacks", self._get_callbacks),
                web.get("/options", self._get_options),
                web.patch("/options", self._patch_options),
                web.get("/accounts", self._get_accounts),
                web.post("/accounts", self._post_accounts),
                web.post("/inbound", self._post_inbound),
                web.post("/verify", self._post_verify),
                web.post("/reset", self._post_reset),
                *hlr.routes(),
            ]
        )

    async def _get_stats(self, _: web.Request) -> web.Response:
        providers = self._sandbox.providers
        return web.json_response(
            {
                name: {**p.record.stats(), "events_pending": p.pending}
                for name, p in providers.items()
            }
        )

    async def _get_requests(self, request: web.Request) -> web.Response:
        return self._kept(request, "requests", ("path", "status", "ended"))

    async def _get_messages(self, request: web.Request) -> web.Response:
        return self._kept(request, "messages", ("to", "id"))

    async def _get_callbacks(self, request: web.Request) -> web.Response:
        return self._kept(request, "callbacks", ("state", "url"))

    async def _get_duplicates(self, request: web.Request) -> web.Response:
        meant = self._named(request)
        return web.json_response({p.name: p.record.duplicates()[:MAX_LIMIT] for p in meant})

    async def _get_options(self, request: web.Request) -> web.Response:
        return web.json_response({p.name: p.options.as_json() for p in self._named(request)})

    async def _patch_options(self, request: web.Request) -> web.Response:
        changes = await _json_object(request)
        try:
            self._sandbox.change(changes, request.query.get("provider"))
        except OptionsError as error:
            body = {"error": str(error), "options": error.problems}
            return web.json_response(body, status=400)
        except ValueError as error:
            return _refused(error)
        return await self._get_options(request)

    async def _get_accounts(self, _: web.Request) -> web.Response:
        return web.json_response(self._sandbox.accounts.show())

    async def _post_accounts(self, request: web.Request) -> web.Response:
        fields = await _json_object(request)
        provider = str(fields.pop("provider", ""))
        try:
            # A key takes a moment to make, and the providers' clients wait meanwhile.
            put = self._sandbox.accounts.put
            return web.json_response(await asyncio.to_thread(put, provider, fields))
        except ValueError as error:
            return _refused(error)

    async def _post_inbound(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Inbound)
            [provider] = self._sandbox.named(asked.provider)
            fields = {**msgspec.to_builtins(asked), "from": asked.sender}
            ids = [provider.inbound(fields) for _ in range(asked.repeat)]
        except (ValueError, msgspec.MsgspecError) as error:
            return _refused(error)
        return web.json_response({"ids": ids})

    async def _post_verify(self, request: web.Request) -> web.Response:
        asked = await _json_object(request)
        try:
            [provider] = self._sandbox.named(str(asked.get("provider", "whatsapp")))
            return web.json_response(await provider.verify(asked.get("account")))
        except ValueError as error:
            return _refused(error)
        except OSError as error:
            return web.json_response({"verified": False, "status": None, "answer": str(error)})

    async def _post_reset(self, _: web.Request) -> web.Response:
        self._sandbox.reset()
        return web.json_response({})

    def _kept(self, request: web.Request, what: str, filters: tuple[str, ...]) -> web.Response:
        try:
            limit = min(max(int(request.query.get("limit", DEFAULT_LIMIT)), 0), MAX_LIMIT)
        except ValueError:
            raise _bad("limit is a number") from None
        wanted = {name: request.query.get(name) for name in filters}
        return web.json_response(
            {p.name: newest(getattr(p.record, what), limit, **wanted) for p in self._named(request)}
        )

    def _named(self, request: web.Request) -> "list[Provider]":
        try:
            return self._sandbox.named(request.query.get("provider"))
        except ValueError as error:
            raise _bad(str(error)) from None


def _refused(error: Exception) -> web.Response:
    return web.json_response({"error": str(error)}, status=400)


def _bad(text: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": text}), content_type="application/json")


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _bad("expected a JSON object")
    return body
