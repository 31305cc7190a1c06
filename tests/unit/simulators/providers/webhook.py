"""A webhook that remembers what it was sent."""

import json
import time
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from tests.waiting import eventually

PUBLIC = "https://hermes.example/v1/webhooks/acme/adapter?ref=m1.1%2Cx"
"""The address that the providers are told; they connect elsewhere (callback_origin)."""


class Hook:
    """A webhook: what it was sent, and what it answers, one status after the other, then 200."""

    def __init__(self):
        self.statuses = []
        self.calls = []
        self.origin = ""
        self.challenge = None
        self.respond = None

    async def handle(self, request):
        body = await request.read()
        call = Call(time.monotonic(), request.method, request.path_qs, request.headers, body)
        self.calls.append(call)
        if request.method == "GET" and self.challenge is not None:
            return web.Response(text=self.challenge(call))
        if self.respond is not None:
            return web.Response(status=await self.respond(call))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, text="ok")

    async def receives(self, count):
        """Wait for so many calls; all of them."""
        await eventually(lambda: len(self.calls) >= count)
        return self.calls


class Call:
    def __init__(self, at, method, path, headers, body):
        self.at, self.method, self.path, self.headers, self.body = at, method, path, headers, body

    @property
    def query(self):
        return dict(parse_qsl(urlsplit(self.path).query))

    @property
    def form(self):
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self):
        return json.loads(self.body)
