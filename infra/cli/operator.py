"""A bind pool's admin API as the commands use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import click

from infra.cli.client import ApiClient, ApiError, load_settings
from infra.operator_key import key_file, known_operator_key

Command = TypeVar("Command", bound=Callable[..., Any])
_CARRIERS = "/admin/v1/carriers"


class PoolClient(ApiClient):
    """A connection to a bind pool with the operator's key. Every method raises ApiError."""

    _whose = "The bind pool"

    def carriers(self) -> list[dict[str, Any]]:
        """Every carrier with its health and configuration."""
        found: list[dict[str, Any]] = self._ask("GET", _CARRIERS)["carriers"]
        return found

    def add(self, account: Any) -> dict[str, Any]:
        """Add a carrier."""
        return self._ask("POST", _CARRIERS, account)

    def change(self, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Change some of a carrier's settings."""
        return self._ask("PATCH", _path(name), patch)

    def order(self, name: str, what: str) -> dict[str, Any]:
        """`suspend`, `drain` or `resume` a carrier."""
        return self._ask("POST", f"{_path(name)}/{what}")

    def remove(self, name: str) -> None:
        """Remove a carrier."""
        self._ask("DELETE", _path(name))

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            return self._call(method, path, body)
        except ApiError as error:
            if (error.problem or {}).get("code") == "invalid_key":
                raise ApiError(
                    f"The bind pool at {self._base} has another operator key. It is in the pool's "
                    "data_dir (operator.key), or its settings say it: HERMES_ADMIN__KEY.",
                    error.problem,
                ) from None
            raise


POOL_HELP = "Where the bind pool is [HERMES_POOL_URL]."


@contextlib.contextmanager
def connected(base: str | None) -> Iterator[PoolClient]:
    """A client of the pool at `base`, else of the one that runs here."""
    client = PoolClient(base or _default_base(), _key())
    try:
        yield client
    finally:
        client.close()


def with_pool(command: Command) -> Command:
    """Give a command of a group the option --pool, which it may also have been given to the group
    (its context's object), as the parameter `pool`, a PoolClient."""

    @click.option("--pool", "base", metavar="URL", help=POOL_HELP)
    @click.pass_obj
    def with_client(of_group: str | None, /, *args: Any, base: str | None, **options: Any) -> Any:
        with connected(base or of_group) as client:
            return command(*args, pool=client, **options)

    with_client.__name__ = command.__name__
    with_client.__doc__ = command.__doc__
    with_client.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
        *with_client.__click_params__,  # type: ignore[attr-defined]
    ]
    return with_client  # type: ignore[return-value]


def _path(name: str) -> str:
    return f"{_CARRIERS}/{quote(name, safe='')}"


def _default_base() -> str:
    if url := os.environ.get("HERMES_POOL_URL"):
        return url
    from infra.local.running import find_running

    settings = load_settings()
    running = find_running(settings.data_dir)
    port = running.ports.pool if running else settings.pool.port
    return f"http://{settings.pool.host}:{port}"


def _key() -> str:
    settings = load_settings()
    key = known_operator_key(settings)
    if not key:
        raise click.ClickException(
            f"There is no operator key: {key_file(settings)} is not there, and the settings have "
            "no [admin] key. The bind pool makes one when it starts: hermes up."
        )
    return key
