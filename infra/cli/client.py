"""The REST API as the commands use it."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

from infra import settings
from infra.local.demo_keys import DEMO_TENANTS, key_file, read_demo_keys
from infra.local.running import find_running

Command = TypeVar("Command", bound=Callable[..., Any])


_NEXT: Final = {
    "no_account": "To open one: hermes accounts set TENANT CURRENCY",
    "tenant_exists": "To change it: hermes tenants set TENANT KEY=VALUE",
    "route_exists": "To change it: hermes routes set NAME KEY=VALUE",
    "carrier_exists": "To change it: hermes carriers set NAME KEY=VALUE",
    "template_exists": "To add a version: hermes templates publish NAME FILE",
}
"""The command that helps, where the API's answer leaves that to whoever asked."""


class ApiError(click.ClickException):
    """The API said no, or cannot be reached. `problem` is its RFC 9457 answer, if it gave one."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem

    @classmethod
    def of(cls, status: int, body: bytes) -> ApiError:
        """The error that an answer tells of."""
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            return cls(f"The API answered {status}: {body[:200].decode(errors='replace')}")
        said = problem.get("detail") or problem.get("title") or "no reason given"
        lines = [f"{said} ({problem.get('code', status)})"]
        if command := _NEXT.get(str(problem.get("code"))):
            lines.append(f"  {command}")
        for error in problem.get("errors") or ():
            where = error.get("pointer") or error.get("parameter") or ""
            what = error.get("detail") or error.get("code") or ""
            right = f" (right: {error['right']})" if error.get("right") else ""
            lines.append(f"  {where}: {what}{right}")
        return cls("\n".join(lines), problem)


class ApiClient:
    """A connection to the API with one tenant's key."""

    _whose = "The API"

    def __init__(self, base: str, key: str, *, timeout: float = 15.0) -> None:
        url = urlsplit(base)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise click.BadParameter(f"{base!r} is not an http or https URL", param_hint="--api")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname, url.port, timeout=timeout)
        self._path = url.path.rstrip("/")
        self._base = base
        self._key = key

    def send(
        self, message: dict[str, Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Hand over a message. Raises ApiError."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", "/v1/messages", message, headers)

    def get(self, message_id: str) -> dict[str, Any]:
        """A message with its timeline. Raises ApiError."""
        return self._call("GET", f"/v1/messages/{quote(message_id, safe='')}")

    def list(self, **filters: Any) -> dict[str, Any]:
        """A page of messages, newest first. Filters that are None are left out. Raises ApiError."""
        given = {name: value for name, value in filters.items() if value not in (None, ())}
        query = urlencode(given, doseq=True)
        return self._call("GET", f"/v1/messages?{query}" if query else "/v1/messages")

    def cancel(self, message_id: str) -> dict[str, Any]:
        """Withdraw a message. Raises ApiError."""
        return self._call("DELETE", f"/v1/messages/{quote(message_id, safe='')}")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        patience: float | None = None,
        media_type: str = "application/zip",
    ) -> dict[str, Any]:
        """Any operation: `body` is JSON, or bytes of `media_type`; `patience` is in seconds. Raises
        ApiError."""
        if patience is not None:
            self._connection.close()
            self._connection.timeout = patience
        headers = {"Content-Type": media_type} if isinstance(body, bytes) else {}
        return self._call(method, path, body, headers)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def _call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        sent = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        try:
            self._connection.request(method, self._path + path, payload, sent)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ApiError(
                f"{self._whose} at {self._base} cannot be reached: {reason}. "
                "Is it running? (hermes up, hermes doctor)"
            ) from None
        if response.status >= 300:
            raise ApiError.of(response.status, answer)
        try:
            decoded = {} if response.status == 204 else json.loads(answer)
        except ValueError:
            raise ApiError(f"{self._base} does not answer as Hermes does.") from None
        assert isinstance(decoded, dict)
        return decoded


def with_api(command: Command) -> Command:
    """Give a command the options --api and --tenant, as the parameter `api`, an ApiClient."""

    @click.option("--api", "base", metavar="URL", help="Where the API is [HERMES_API_URL].")
    @click.option(
        "--tenant",
        metavar="NAME",
        help=f"Whose demo key to take: {', '.join(DEMO_TENANTS)}; not with HERMES_API_KEY.",
    )
    def connected(*args: Any, base: str | None, tenant: str | None, **options: Any) -> Any:
        client = ApiClient(base or default_base(), key_of(tenant))
        try:
            return command(*args, api=client, **options)
        finally:
            client.close()

    connected.__name__ = command.__name__
    connected.__doc__ = command.__doc__
    connected.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
        *connected.__click_params__,  # type: ignore[attr-defined]
    ]
    return connected  # type: ignore[return-value]


def load_settings() -> settings.Settings:
    """The settings. Raises a ClickException that names what is wrong in them, and where they are
    used, one that says why a secret is not there."""
    return _loaded(lambda: settings.load_for_command(_not_there))


def load_settings_of_processes() -> settings.Settings:
    """The settings as the processes read them, with every secret. Raises ClickException."""
    return _loaded(settings.load)


def _loaded(load: Callable[[], settings.Settings]) -> settings.Settings:
    try:
        return load()
    except settings.ConfigurationError as error:
        raise click.ClickException(f"The settings are wrong:\n{error}") from None


def _not_there(why: str) -> click.ClickException:
    return click.ClickException(f"A secret of the settings is needed here: {why}")


def default_base() -> str:
    """Where the API is: by the environment, by what runs here, by the settings."""
    if url := os.environ.get("HERMES_API_URL"):
        return url
    settings = load_settings()
    running = find_running(settings.data_dir)
    port = settings.api.port if running is None else running.ports.api
    return f"http://{settings.api.host}:{port}"


def key_of(tenant: str | None) -> str:
    """The environment's API key, else a tenant's demo key. Raises ClickException."""
    if (key := os.environ.get("HERMES_API_KEY")) and tenant is None:
        return key
    data_dir = load_settings().data_dir
    try:
        keys = read_demo_keys(data_dir)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    wanted = tenant or DEMO_TENANTS[0]
    if wanted not in keys:
        raise click.ClickException(
            f"There is no key: HERMES_API_KEY is not set and {key_file(data_dir)} has none for "
            f"{wanted}. `hermes up` makes the demo keys, `hermes keys create` others."
        )
    return keys[wanted]
