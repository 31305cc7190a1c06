"""The API's admin resources as the commands use them: over HTTP, or straight in the database.

With --api or HERMES_API_URL a command asks the API process there, with the operator's key.
Otherwise it does the same work itself, in the database that the settings name: on the machine that
Hermes runs on nothing has to be running for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlencode, urlsplit

import click

from infra.cli.client import ApiClient, ApiError, load_settings
from infra.operator_key import known_operator_key

Command = TypeVar("Command", bound=Callable[..., Any])
Json = dict[str, Any]

API_HELP = "Where the API is [HERMES_API_URL]; else the database of the settings is asked."
_ROOT = "/admin/v1/"


class Administration(Protocol):
    """Whoever answers the admin API's requests."""

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Json:
        """An operation at a path below /admin/v1/. Parameters that are None are left out. Raises
        ApiError."""

    def close(self) -> None:
        """End it."""


class AdminClient(ApiClient):
    """An API process with the operator's key."""

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Json:
        """See `Administration`."""
        try:
            return self._call(method, _ROOT + _with(path, query), body, _named())
        except ApiError as error:
            if (error.problem or {}).get("code") == "invalid_key":
                raise ApiError(
                    f"The API at {self._base} has another operator key. It is in the API's "
                    "data_dir (operator.key), or its settings say it: HERMES_ADMIN__KEY.",
                    error.problem,
                ) from None
            raise


class DatabaseClient:
    """The same operations in this process, on a database."""

    def __init__(self, where: Path | str) -> None:
        from handlers.admin.directory import DirectoryApi, stored

        self._router = DirectoryApi(stored(where), "").router

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Json:
        """See `Administration`."""
        import msgspec

        split = urlsplit(_ROOT + _with(path, query))
        headers = {**_named(), **({} if body is None else {"Content-Type": "application/json"})}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": unquote(split.path),
            "raw_path": split.path.encode(),
            "query_string": split.query.encode(),
            "headers": [(n.lower().encode(), v.encode()) for n, v in headers.items()],
        }
        content = b"" if body is None else msgspec.json.encode(body)
        status, answer = asyncio.run(self._asked(scope, content))
        if status >= 300:
            raise ApiError.of(status, answer)
        decoded: Json = msgspec.json.decode(answer) if answer else {}
        return decoded

    def close(self) -> None:
        """Nothing is open."""

    async def _asked(self, scope: Json, body: bytes) -> tuple[int, bytes]:
        status, parts = 0, []

        async def receive() -> Json:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        try:
            await self._router(scope, receive, send)
        except Exception as error:
            # What a database says may quote its address, and so a password.
            raise click.ClickException(
                f"The database cannot be used: {type(error).__name__}. Is it there? (hermes doctor)"
            ) from error
        return status, b"".join(parts)


@contextlib.contextmanager
def administration(base: str | None) -> Iterator[Administration]:
    """The API at `base` or HERMES_API_URL, else the settings' database."""
    base = base or os.environ.get("HERMES_API_URL")
    client: Administration = DatabaseClient(database()) if base is None else operators_api(base)
    try:
        yield client
    finally:
        client.close()


def with_administration(command: Command) -> Command:
    """Give a command the option --api, as the parameter `admin`, an Administration."""

    @click.option("--api", "base", metavar="URL", help=API_HELP)
    def connected(*args: Any, base: str | None, **options: Any) -> Any:
        with administration(base) as admin:
            return command(*args, admin=admin, **options)

    connected.__name__ = command.__name__
    connected.__doc__ = command.__doc__
    connected.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
        *connected.__click_params__,  # type: ignore[attr-defined]
    ]
    return connected  # type: ignore[return-value]


def database() -> Path | str:
    """The settings' database. A file that is not there is made, as `hermes up` would, and said so:
    the settings may be another deployment's."""
    where = load_settings().database
    if isinstance(where, Path) and not where.exists():
        from adapters.store.schema import open_store

        try:
            # For its owner only: messages, recipients and keys are in it.
            where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            open_store(where, "hermes").close()
        except (OSError, sqlite3.Error) as error:
            raise click.ClickException(f"{where} cannot be made: {error}") from None
        click.echo(f"{where} is a new database.", err=True)
    return where


def operators_api(base: str) -> AdminClient:
    """The API at `base` with the operator's key. Raises ClickException where there is none."""
    key = known_operator_key(load_settings())
    if not key:
        raise click.ClickException(
            "There is no operator key: set HERMES_ADMIN__KEY to the one of the API, which is in "
            "its settings or in operator.key of its data_dir."
        )
    return AdminClient(base, key)


def _with(path: str, query: Json) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _named() -> dict[str, str]:
    """Who makes a change, for the audit log."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return {}
    return {"Hermes-Operator": name} if name.isprintable() and name.isascii() else {}
