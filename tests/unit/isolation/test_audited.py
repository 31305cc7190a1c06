"""Whatever changes what is set up leaves a line in the audit log: who, and what."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any, NamedTuple

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
CAROL = "carol"
EVERYBODY = ""


class Change(NamedTuple):
    """What an operator does. `{names}` in path, query and body stand for what earlier answers had
    under the `kept` names; `tenant` is whom the line in the audit log is about."""

    operation: str
    ids: dict[str, str] = {}
    body: Any = None
    tenant: str = CAROL
    kept: str = ""
    found: str = "id"
    query: dict[str, str] | None = None


OWN = {"tenant": CAROL, "sender": "Carol"}
PRICE = {"channel": "sms", "amount": "0.05", "currency": "EUR", "tenant": CAROL}
PERSON = {"channel": "email", "address": "anna@example.com"}
ROUTE = {"name": "own", "channel": "email", "kind": "own"}
ADMIN = [
    Change("POST tenants", body={"id": CAROL}),
    Change("PATCH tenants/{id}", {"id": CAROL}, {"tier": "dedicated"}),
    Change("PUT senders/{tenant}/{sender}", OWN, {}),
    Change("DELETE senders/{tenant}/{sender}", OWN),
    Change("POST keys", body={"tenant": CAROL}, kept="key", found="made.id"),
    Change("PATCH keys/{id}", {"id": "{key}"}, {"note": "new"}),
    Change("POST keys/{id}/rotate", {"id": "{key}"}, {}),
    Change("DELETE keys/{id}", {"id": "{key}"}),
    Change("POST prices", body={"prices": [PRICE]}, kept="price", found="prices.0.id"),
    Change("DELETE prices/{id}", {"id": "{price}"}),
    Change("PUT accounts/{tenant}", {"tenant": CAROL}, {"currency": "EUR"}),
    Change("POST accounts/{tenant}/entries", {"tenant": CAROL}, {"amount": "9", "reference": "1"}),
    Change("POST suppressions", body=PERSON, tenant=EVERYBODY, kept="suppression"),
    Change("DELETE suppressions/{id}", {"id": "{suppression}"}, tenant=EVERYBODY),
    Change(
        "POST suppressions/imports",
        body=b"address\nbert@example.com\n",
        query={"channel": "email", "tenant": CAROL},
    ),
    Change("POST erasures", body={"tenant": CAROL, "to": {"sms": "+4520123456"}}),
    Change("POST routes", body=ROUTE, tenant=EVERYBODY),
    Change("PATCH routes/{name}", {"name": "own"}, {"priority": 7}, tenant=EVERYBODY),
    Change("DELETE routes/{name}", {"name": "own"}, tenant=EVERYBODY),
]
"""In an order in which all of it works."""


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
    kept: dict[str, str] = {}
    for change in ADMIN:
        method, _, path = change.operation.partition(" ")
        for name, value in change.ids.items():
            path = path.replace(f"{{{name}}}", value.format(**kept))
        before = len(lines(world))
        answer = await world.ask(
            method,
            f"/admin/v1/{path}",
            "operator",
            change.body,
            media_type="text/csv" if isinstance(change.body, bytes) else None,
            query=change.query,
        )
        assert answer.status < 300, f"{change.operation}: {answer.text}"
        if change.kept:
            kept[change.kept] = _found(json.loads(answer.text), change.found)
        told = lines(world)
        assert len(told) == before + 1, change.operation
        assert (told[0].actor, told[0].tenant) == ("operator", change.tenant), change.operation


async def test_no_operation_of_the_operators_is_forgotten(world):
    """Whoever adds one says here what it changes, or above that it changes nothing."""
    changing = {
        str(operation)
        for operation in world.admin_operations
        if operation.method != "GET" and str(operation) not in CHANGES_NOTHING
    }
    tried = [change.operation.replace(" ", " /admin/v1/", 1) for change in ADMIN]
    assert sorted(tried) == sorted(changing)


def _found(answer: Any, path: str) -> str:
    for name in path.split("."):
        answer = answer[int(name)] if name.isdigit() else answer[name]
    return str(answer)
