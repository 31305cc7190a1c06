"""The processes of Hermes that were started one by one, as in production."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from infra.local.ports import Holder, Ports, holder, in_use
from infra.local.supervision import http_ok

FRONT: Final = ("api", "endpoint", "pool")
_SERVER: Final = ("ingress", "admin", "fabric")
_HEALTH: Final = {
    "api": "/healthz",
    "endpoint": "/health",
    "pool": "/health",
    "ingress": "/restate/health",
    "admin": "/health",
}
_SIMULATORS: Final = "infra.simulators."


@dataclass(frozen=True, slots=True)
class Started:
    """`names` are those of the ports that they hold, of `FRONT` at least one."""

    ports: Ports
    names: frozenset[str]


def find_started(ports: Ports, data_dir: Path) -> Started | None:
    """What holds `ports` and is ours, None when no process of `FRONT` does.

    Those of another data directory, say another checkout's, are not ours.
    """
    ours = frozenset(
        name
        for name, port in ports
        if in_use(port) and _is_ours(name, port, holder(port), data_dir)
    )
    return Started(ports, ours) if ours & set(FRONT) else None


def _is_ours(name: str, port: int, holds: Holder, data_dir: Path) -> bool:
    if holds.pid is None:
        return name in _HEALTH and http_ok(port, _HEALTH[name])()
    try:
        listens = psutil.Process(holds.pid)
        # It may be a worker of the one that was started.
        family = (listens, *listens.parents())
        process = next((one for one in family if _is_called(name, one.cmdline())), None)
        if process is None:
            return False
        environment, directory = process.environ(), Path(process.cwd())
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False
    if name in _SERVER and "HERMES_DATA_DIR" not in environment:
        return True  # it has settings of its own
    return _data_dir(environment, directory) == data_dir.resolve()


def _is_called(name: str, command: list[str]) -> bool:
    if name in FRONT:
        return f"infra.processes.{name}" in command
    if name in _SERVER:
        return bool(command) and Path(command[0]).name == "restate-server"
    return any(part.startswith(_SIMULATORS) for part in command)


def _data_dir(environment: dict[str, str], directory: Path) -> Path:
    """Where a process with this environment, started in this directory, keeps its data."""
    said = environment.get("HERMES_DATA_DIR")
    if said is None:
        file = directory / environment.get("HERMES_CONFIG", "hermes.toml")
        try:
            said = tomllib.loads(file.read_text()).get("data_dir")
        except (OSError, ValueError):
            said = None
    return (directory / (said or ".hermes")).resolve()
