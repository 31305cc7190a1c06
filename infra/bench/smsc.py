"""SMSC simulators of a scenario's own, and what they saw."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.bench.processes import Processes
from infra.local.ports import HOST, Ports
from infra.local.supervision import http_ok

_PATIENCE = 30.0
"""Seconds for one answer of a control port: its process may be busy with a flood."""
_NEWEST = 10_000
"""Submissions that a simulator lists at once."""


@dataclass
class Smsc:
    """One simulator, seen through its control port. Its questions may be asked on a loop."""

    name: str
    port: int
    control_port: int

    async def stats(self) -> dict[str, Any]:
        """Its counters, and every bind with what was seen on it."""
        answer: dict[str, Any] = await self._ask("/stats")
        return answer

    def stats_now(self) -> dict[str, Any]:
        """The same, where there is no loop."""
        answer: dict[str, Any] = self._ask_now("/stats", "GET", None)
        return answer

    async def set(self, **options: Any) -> None:
        """Change how it behaves from now on."""
        await self._ask("/options", "PATCH", options)

    async def kill_links(self) -> int:
        """Cut every connection, as a network failure would; how many there were."""
        return int((await self._ask("/links/kill", "POST"))["killed"])

    async def reset(self) -> None:
        """Forget what was seen. Links stay."""
        await self._ask("/reset", "POST")

    async def taken(self) -> dict[str, int]:
        """Every text that it took, and how often."""
        taken: Counter[str] = Counter()
        for entry in await self.accepted():
            taken[entry["text"]] += len(entry["message_ids"])
        return taken

    async def accepted(self) -> list[dict[str, Any]]:
        """What it took: for each text to a destination its own ids, and when the first receipt of
        each was sent, if it was."""
        return list((await self._ask("/accepted"))["accepted"])

    async def submits(self) -> list[dict[str, Any]]:
        """The newest 10,000 submissions, oldest first, refused ones, too; `at` is seconds since
        the epoch."""
        answer: dict[str, Any] = await self._ask(f"/submits?limit={_NEWEST}")
        return list(answer["submits"])

    async def _ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        return await asyncio.to_thread(self._ask_now, path, method, body)

    def _ask_now(self, path: str, method: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://{HOST}:{self.control_port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            return json.loads(answer.read())


def start_smsc(processes: Processes, name: str, flags: Sequence[str] = ()) -> Smsc:
    """Start a simulator on free ports with these flags; `processes` knows when it is ready."""
    ports = Ports.free()
    smsc = Smsc(name, ports.smsc, ports.smsc_control)
    command = [
        *(sys.executable, "-m", "infra.simulators.smsc", "--host", HOST),
        *("--system-id", "hermes", "--password", "hermes"),
        *("--port", str(smsc.port), "--control-port", str(smsc.control_port), *flags),
    ]
    processes.start(name, command, http_ok(smsc.control_port, "/stats"))
    return smsc


def account(name: str, port: int, **more: Any) -> dict[str, Any]:
    """An account at a simulator, as the settings have it."""
    login = {"system_id": "hermes", "password": "hermes", "tls": False}
    return {"name": name, "hosts": [f"{HOST}:{port}"], **login, **more}
