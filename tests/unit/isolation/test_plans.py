"""Whatever a request asks the database is found by an index: no table that grows with what is sent
is read from end to end."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from adapters.store.database import connect, is_postgres
from adapters.store.postgres import _translated
from tests.unit.isolation.seeds import MARK, SEEDS
from tests.unit.isolation.test_isolation import asked, fresh, root_of, with_ids
from tests.unit.isolation.world import ALICE, World, opened

SETTINGS = frozenset(
    {
        # Read whole into memory after a change, and by the operator's lists.
        *("sections", "tenants", "api_keys", "senders", "routes", "prices", "accounts"),
        *("templates", "template_versions", "callback_endpoints", "callback_secrets"),
        # Read when a version is removed, which sweeps.
        *("adapters", "adapter_versions", "adapter_changes"),
        # Counted for the operator.
        "erasures",
    }
)
"""Tables with a row for each thing that somebody has set up. All others grow with the messages."""

LISTS = (
    {},
    {"status": "delivered", "channel": "sms", f"metadata.{MARK}": "1"},
    {"created_after": "2026-01-01T00:00:00Z", "created_before": "2027-01-01T00:00:00Z"},
    {"mode": "test", "limit": "1"},
)
"""Ways to ask for messages."""


@pytest.fixture
async def world(where, tmp_path, monkeypatch):
    async with opened(where, tmp_path / "data", monkeypatch) as world:
        yield world


async def statements(world: World) -> list[str]:
    """Every statement that the API's operations lead to."""
    found: dict[str, None] = {}
    things = {}
    for root, seed in SEEDS.items():
        things[root] = await seed(world, ALICE, MARK)
    for query in LISTS:
        answer = await world.ask("GET", "/v1/messages", ALICE, query=query)
        assert answer.status == 200, answer.text
        found |= dict.fromkeys(answer.asked)
    without = [each for each in world.operations if not each.names and each.scopes]
    for operation in [*without, *with_ids(world)]:
        ids = {name: things[root_of(operation)][name] for name in operation.names}
        if operation.method == "DELETE" and operation.names:
            ids = {**ids, **await fresh(world, operation, ids)}
        found |= dict.fromkeys((await asked(world, operation, ALICE, ids)).asked)
    for operation in world.admin_operations:
        if operation.method == "GET" and not operation.names:
            world.keys["operator"] = world.operator
            found |= dict.fromkeys((await world.ask("GET", operation.path, "operator")).asked)
    sql = [text.removeprefix("sql: ") for text in found if text.startswith("sql: ")]
    return [text for text in sql if re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text)]


async def test_no_table_is_read_from_end_to_end(world):
    found = await statements(world)
    assert len(found) > 20
    with closing(connect(world.where)) as database:
        scans = [
            f"{table}: {sql}"
            for sql in found
            for table in scanned(database, world.where, sql)
            if table not in SETTINGS
        ]
    assert not scans, "\n".join(scans)


def scanned(database: Any, where: Any, sql: str) -> list[str]:
    """The tables that a statement reads from end to end."""
    if is_postgres(where):
        explained = f"EXPLAIN (GENERIC_PLAN, COSTS OFF) {_translated(sql)}"
        rows = database._connection.execute(explained).fetchall()
        return re.findall(r"Seq Scan on (\w+)", "\n".join(row[0] for row in rows))
    rows = database.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?")).fetchall()
    plan = "\n".join(row[3] for row in rows)
    if "LIMIT" in sql and "TEMP B-TREE" not in plan:
        # In the order of the index, and no further than the limit.
        return []
    # What the statement makes itself; the tables that it makes it of have lines of their own.
    own = re.findall(r"^(?:CO-ROUTINE|MATERIALIZE) (\w+)", plan, re.MULTILINE)
    return [
        table
        for table in re.findall(r"^SCAN (\w+)", plan, re.MULTILINE)
        if table not in ("CONSTANT", "SUBQUERY", *own)
    ]
