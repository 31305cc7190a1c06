"""One API process on a real database, three tenants, and a record of what each request asks for."""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.store.keys import create_key
from adapters.store.postgres import PostgresDatabase
from adapters.store.sqlite import SqliteDatabase
from adapters.store.tenants import add_tenant
from infra.operator_key import operator_key
from infra.processes import api as api_process
from infra.settings import Settings
from tests.fakes import FakeEngine

ALICE, BOB = "alice", "bob"

_asked: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("asked", default=None)
_METHODS = ("get", "put", "post", "patch", "delete")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Operation:
    """A method at a path, as the OpenAPI document has it."""

    method: str
    path: str
    spec: dict[str, Any] = field(repr=False, hash=False, compare=False)

    @property
    def names(self) -> list[str]:
        """The parameters in the path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def scopes(self) -> list[str]:
        """What it asks of a key; none for one that is open to all."""
        return [
            scope for need in self.spec["security"] for scopes in need.values() for scope in scopes
        ]

    @property
    def media_type(self) -> str | None:
        """Its body's, None for none."""
        return next(iter(self.spec.get("requestBody", {}).get("content", {})), None)

    def at(self, values: dict[str, str]) -> str:
        """The path with these values in the place of its parameters."""
        return re.sub(r"{(\w+)}", lambda match: values[match[1]], self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Answered:
    """An answer, and what it took: the statements and the calls of Restate, in order."""

    status: int
    headers: dict[str, str]
    text: str
    asked: list[str]


class Engine(FakeEngine):
    """Restate, which remembers what it was asked in the course of a request."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("start", "status", "cancel"):
            _note(f"restate: {name}")
        return found

    async def wake_callbacks(self, endpoint: str) -> None:
        _note("restate: wake_callbacks")

    async def webhook(self, call: bytes) -> None:
        _note("restate: webhook")

    async def close(self) -> None:
        pass


@dataclass
class World:
    """The API with its document, and a key for each tenant."""

    client: httpx.AsyncClient
    keys: dict[str, str]
    operator: str
    engine: Engine
    where: Path | str
    document: dict[str, Any] = field(default_factory=dict)
    admin: dict[str, Any] = field(default_factory=dict)

    @property
    def operations(self) -> list[Operation]:
        """All of the tenants' API."""
        return _operations(self.document)

    @property
    def admin_operations(self) -> list[Operation]:
        """All of the operators'."""
        return _operations(self.admin)

    async def ask(
        self,
        method: str,
        path: str,
        who: str | None,
        body: Any = None,
        *,
        media_type: str | None = None,
        query: dict[str, Any] | None = None,
    ) -> Answered:
        """One request by a tenant, or by nobody."""
        headers = {} if who is None else {"authorization": f"Bearer {self.keys[who]}"}
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["content-type"] = media_type or "application/json"
        asked: list[str] = []
        token = _asked.set(asked)
        try:
            answer = await self.client.request(
                method, path, headers=headers, content=content, params=query
            )
        finally:
            _asked.reset(token)
        shown = {
            name: value
            for name, value in answer.headers.items()
            if name not in ("content-length", "date")
        }
        return Answered(answer.status_code, shown, answer.text, asked)


@asynccontextmanager
async def opened(
    where: Path | str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """The API process as it is, but for Restate."""
    _record(monkeypatch)
    engine = Engine()
    monkeypatch.setattr(api_process, "RestateIngress", lambda *urls, direct: engine)
    address = {} if isinstance(where, Path) else {"database_url": where}
    if isinstance(where, Path):
        monkeypatch.setattr(Settings, "database", property(lambda settings: where))
    settings = Settings(data_dir=data_dir, callbacks={"allow_private_addresses": True}, **address)
    for tenant in (ALICE, BOB):
        add_tenant(where, tenant, {"tier": "custom"})
    keys = {tenant: create_key(where, tenant) for tenant in (ALICE, BOB)}
    async with api_process.api(settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://hermes.test") as client:
            key = operator_key(settings)
            world = World(client, keys, key, engine, where)
            world.document = (await client.get("/openapi.json")).json()
            headers = {"authorization": f"Bearer {key}"}
            answer = await client.get("/admin/v1/openapi.json", headers=headers)
            world.admin = answer.json()
            yield world


def _operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(method.upper(), path, {"security": document.get("security", []), **spec})
        for path, methods in document["paths"].items()
        for method, spec in methods.items()
        if method in _METHODS
    ]


def _note(what: str) -> None:
    asked = _asked.get()
    if asked is not None:
        asked.append(_SPACE.sub(" ", what).strip())


def _record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note every statement that a request leads to, on whatever thread it runs."""
    for kind in (SqliteDatabase, PostgresDatabase):

        def execute(self: Any, sql: str, *more: Any, _execute: Any = kind.execute) -> Any:
            _note(f"sql: {sql}")
            return _execute(self, sql, *more)

        monkeypatch.setattr(kind, "execute", execute)

    def commit_group(
        self: Any, statements: Any, *more: Any, _commit: Any = PostgresDatabase.commit_group
    ) -> Any:
        for sql, _ in statements:
            _note(f"sql: {sql}")
        return _commit(self, statements, *more)

    monkeypatch.setattr(PostgresDatabase, "commit_group", commit_group)
    loop = asyncio.get_running_loop()
    run = loop.run_in_executor

    def in_context(executor: Any, function: Any, *arguments: Any) -> Any:
        context = contextvars.copy_context()
        return run(executor, lambda: context.run(function, *arguments))

    monkeypatch.setattr(loop, "run_in_executor", in_context)
