"""The control port: what was seen, and what to do now."""

import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from infra.simulators.options import OptionsError
from infra.simulators.process import ControlServer
from infra.simulators.smsc.mo import read_mo

if TYPE_CHECKING:
    from infra.simulators.smsc.simulator import SmscSimulator

DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 10_000


class Control(ControlServer):
    """The HTTP server beside a simulator."""

    def __init__(self, simulator: "SmscSimulator") -> None:
        self._simulator = simulator
        super().__init__(
            [
                web.get("/stats", self._get_stats),
                web.get("/submits", self._get_submits),
                web.get("/accepted", self._get_accepted),
                web.get("/duplicates", self._get_duplicates),
                web.get("/options", self._get_options),
                web.patch("/options", self._patch_options),
                web.post("/mo", self._post_mo),
                web.post("/reset", self._post_reset),
                web.post("/links/kill", self._post_kill),
            ]
        )

    async def _get_stats(self, _: web.Request) -> web.Response:
        return web.json_response(self._simulator.stats())

    async def _get_submits(self, request: web.Request) -> web.Response:
        destination = request.query.get("destination")
        limit = min(_whole(request, "limit", DEFAULT_LIMIT), MAX_LIMIT)
        newest = (
            submit
            for submit in reversed(self._simulator.record.submits)
            if destination is None or submit.destination == destination
        )
        submits = [submit.as_json() for submit in itertools.islice(newest, limit)]
        submits.reverse()
        return web.json_response({"submits": submits})

    async def _get_accepted(self, request: web.Request) -> web.Response:
        accepted = self._simulator.record.accepted(request.query.get("destination"))
        return web.json_response({"count": len(accepted), "accepted": accepted})

    async def _get_duplicates(self, _: web.Request) -> web.Response:
        simulator = self._simulator
        return web.json_response(
            {
                "count": simulator.counters.duplicates,
                "duplicates": simulator.duplicates()[:MAX_LIMIT],
            }
        )

    async def _get_options(self, _: web.Request) -> web.Response:
        return web.json_response(self._simulator.options.as_json())

    async def _patch_options(self, request: web.Request) -> web.Response:
        changes = await _json_object(request)
        try:
            options = await self._simulator.change(changes)
        except OptionsError as error:
            return _refused(error.problems)
        except OSError as error:
            return web.json_response({"error": f"accept_binds: {error}"}, status=409)
        return web.json_response(options.as_json())

    async def _post_mo(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self._simulator.send_mo(read_mo(await request.read())))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    async def _post_reset(self, _: web.Request) -> web.Response:
        self._simulator.reset()
        return web.json_response({})

    async def _post_kill(self, request: web.Request) -> web.Response:
        number = _whole(request, "bind", None)
        return web.json_response({"killed": self._simulator.kill_links(number)})


def _refused(problems: dict[str, str]) -> web.Response:
    sentence = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return web.json_response({"error": sentence, "options": problems}, status=400)


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(
            text='{"error": "expected a JSON object of options"}', content_type="application/json"
        )
    return body


def _whole(request: web.Request, name: str, default: Any) -> Any:
    try:
        return int(request.query[name]) if name in request.query else default
    except ValueError:
        raise web.HTTPBadRequest(text=f"{name} is a number") from None
