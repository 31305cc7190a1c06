"""What alice has of each resource, and the bodies that requests about them need.

Whoever adds a route with a parameter in its path adds what makes one of those to SEEDS; the test
says so when it is missing. A body is the document's example unless BODIES has another, or a
function that makes one for the ids in the path.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.isolation.world import Answered, World
from tests.unit.wasm.bundles import zipped
from tests.waiting import eventually

MARK = "zqalice"
"""In whatever alice calls something: it may be in nobody else's answer."""
NUMBER = "+4520998877"

Ids = dict[str, str]
Seed = Callable[[World, str, str], Awaitable[Ids]]

TEMPLATE = {"default_language": "en", "languages": {"en": {"text": "Hello {{ who }}"}},
            "variables": {"who": {"type": "text"}}}  # fmt: skip


ANOTHER_TEMPLATE = {**TEMPLATE, "languages": {"en": {"text": "Goodbye {{ who }}"}}}


def _of(answer: Answered, *statuses: int) -> dict[str, Any]:
    assert answer.status in (statuses or (200, 201, 202)), (answer.status, answer.text)
    found: dict[str, Any] = json.loads(answer.text)
    return found


async def message(world: World, who: str, mark: str) -> Ids:
    body = {
        "to": {"sms": NUMBER},
        "content": {"text": f"For {mark}"},
        "metadata": {"order": f"{mark}-order"},
    }
    return {"id": _of(await world.ask("POST", "/v1/messages", who, body))["id"]}


async def callback(world: World, who: str, mark: str) -> Ids:
    made = _of(await world.ask("POST", "/v1/callbacks", who, {"url": f"https://{mark}.example/"}))
    return {"endpoint": made["id"]}


async def template(world: World, who: str, mark: str) -> Ids:
    body = {"name": f"{mark}-welcome", "definition": TEMPLATE}
    _of(await world.ask("POST", "/v1/templates", who, body))
    more = {"definition": {**TEMPLATE, "languages": {"en": {"text": "Hi {{ who }}"}}}}
    _of(await world.ask("POST", f"/v1/templates/{mark}-welcome/versions", who, more))
    return {"name": f"{mark}-welcome", "version": "1"}


async def adapter(world: World, who: str, mark: str) -> Ids:
    path = f"/v1/adapters/{mark}/versions"
    for version in ("1.0.0", "2.0.0"):
        content = zipped(name=mark, version=version, configuration={})
        answer = await world.ask("POST", path, who, content, media_type="application/zip")
        _of(answer)
        answer = await world.ask("POST", f"/v1/adapters/{mark}/activate", who, {"version": version})
        _of(answer)
    return {"name": mark, "version": "1.0.0"}


async def suppression(world: World, who: str, mark: str) -> Ids:
    body = {"channel": "email", "address": f"{mark}@example.com"}
    return {"id": _of(await world.ask("POST", "/v1/suppressions", who, body))["id"]}


async def suppression_import(world: World, who: str, mark: str) -> Ids:
    content = f"address\n{mark}2@example.com\n".encode()
    answer = await world.ask(
        "POST",
        "/v1/suppressions/imports",
        who,
        content,
        media_type="text/csv",
        query={"channel": "email"},
    )
    made = _of(answer)["id"]

    async def done() -> bool:
        look = await world.ask("GET", f"/v1/suppressions/imports/{made}", who)
        return bool(_of(look)["status"] == "done")

    await eventually(done)
    return {"id": made}


SEEDS: dict[str, Seed] = {
    "/v1/messages": message,
    "/v1/callbacks": callback,
    "/v1/templates": template,
    "/v1/adapters": adapter,
    "/v1/suppressions": suppression,
    "/v1/suppressions/imports": suppression_import,
}
"""By the path before the first parameter."""

BODIES: dict[str, Any] = {
    "POST /v1/templates": {"name": "new-one", "definition": TEMPLATE},
    "POST /v1/templates/{name}/versions": {"definition": ANOTHER_TEMPLATE},
    "POST /v1/templates/{name}/activate": {"version": 2},
    "POST /v1/templates/{name}/render": {"variables": {"who": "you"}},
    "POST /v1/callbacks/{endpoint}/rotate": {},
    "POST /v1/callbacks/{endpoint}/replay": {"since": "2020-01-01T00:00:00Z"},
    "POST /v1/adapters/{name}/versions": lambda ids: zipped(
        name=ids["name"], version="3.0.0", configuration={}
    ),
    "PUT /v1/adapters/{name}/configuration": {"configuration": {}},
    "POST /v1/adapters/{name}/activate": {"version": "2.0.0"},
    "DELETE /v1/recipients": {"to": {"sms": NUMBER}},
    "POST /v1/suppressions/imports": b"address\nsomebody@example.com\n",
    "POST /v1/messages/batch": {"messages": [{"to": {"sms": NUMBER}, "content": {"text": "Hi"}}]},
}

QUERIES: dict[str, dict[str, str]] = {"POST /v1/suppressions/imports": {"channel": "email"}}
