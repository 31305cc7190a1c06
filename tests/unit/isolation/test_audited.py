"""Whatever changes what is set up leaves a line in the audit log: who, and what."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from adapters.store.audit import AuditEntry, entries
from adapters.store.database import connect
from tests.unit.isolation.test_isolation import asked, fresh, root_of, seeded, with_ids
from tests.unit.isolation.world import ALICE, World, opened

CHANGES_NOTHING = {
    # Messages have timelines of their own.
    "POST /v1/messages",
    "POST /v1/messages/batch",
    "DELETE /v1/messages/{id}",
    # Questions that have a body.
    "POST /v1/routes/explain",
    "POST /v1/suppressions/lookup",
    "POST /v1/templates/{name}/render",
    "POST /v1/callbacks/{endpoint}/test",
    # What is sent again changes nothing that is set up.
    "POST /v1/callbacks/{endpoint}/replay",
    "POST /admin/v1/routes/explain",
    "POST /admin/v1/suppressions/lookup",
}
ADMIN: list[tuple[str, dict[str, str], Any]] = [
    ("POST tenants", {}, {"id": "carol"}),
    ("PATCH tenants/{id}", {"id": "carol"}, {"tier": "dedicated"}),
    ("PUT senders/{tenant}/{sender}", {"tenant": "carol", "sender": "Carol"}, {}),
    ("DELETE senders/{tenant}/{sender}", {"tenant": "carol", "sender": "Carol"}, None),
    ("POST keys", {}, {"tenant": "carol"}),
    ("PATCH keys/{id}", {"id": "<key>"}, {"note": "new"}),
    ("POST keys/{id}/rotate", {"id": "<key>"}, {}),
    ("DELETE keys/{id}", {"id": "<key>"}, None),
]
"""What an operator does, in an order in which all of it works; `<key>` is carol's."""


@pytest.fixture
async def world(tmp_path, monkeypatch):
    async with opened(tmp_path / "hermes.db", tmp_path / "data", monkeypatch) as world:
        yield world


def lines(world: World) -> list[AuditEntry]:
    with closing(connect(world.where)) as database:
        return entries(database, tenant=None, limit=1000)


async def test_what_a_tenant_changes_is_noted_with_its_key(world):
    things = await seeded(world)
    silent = []
    without = [each for each in world.operations if not each.names and each.scopes]
    for operation in [*without, *with_ids(world)]:
        if operation.method == "GET" or str(operation) in CHANGES_NOTHING:
            continue
        ids = {name: things[root_of(operation)][name] for name in operation.names}
        if operation.method == "DELETE" and operation.names:
            ids = {**ids, **await fresh(world, operation, ids)}
        before = len(lines(world))
        answer = await asked(world, operation, ALICE, ids)
        assert answer.status < 300, f"{operation}: {answer.text}"
        told = lines(world)
        key_id = world.keys[ALICE].split("_")[1]
        if len(told) == before:
            silent.append(f"{operation}: no line")
        elif (told[0].actor, told[0].tenant) != (f"key:{key_id}", ALICE):
            silent.append(f"{operation}: {told[0]}")
    assert not silent, "\n".join(silent)


async def test_what_an_operator_changes_is_noted(world):
    world.keys["operator"] = world.operator
    key = ""
    for line, ids, body in ADMIN:
        method, _, path = line.partition(" ")
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value.replace("<key>", key))
        before = len(lines(world))
        answer = await world.ask(method, f"/admin/v1/{path}", "operator", body)
        assert answer.status < 300, f"{line}: {answer.text}"
        if line == "POST keys":
            key = json.loads(answer.text)["made"]["id"]
        told = lines(world)
        assert len(told) == before + 1, line
        assert (told[0].actor, told[0].tenant) == ("operator", "carol"), line
