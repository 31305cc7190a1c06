"""A real restate-server for a test session, and an endpoint that is served inside this process.

The server is npm's binary on ports and in a directory of its own. The endpoint runs on hypercorn
in a thread with its own event loop; the product's processes run on granian, so both are proven.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from hypercorn.asyncio import serve
from hypercorn.config import Config

from infra.local.ports import HOST, Ports, in_use
from infra.local.stack import restate_server
from tests.waiting import until

AsgiApp = Callable[..., Awaitable[None]]
_FOR_EVER = 2**31 - 1


@dataclass(frozen=True)
class Restate:
    """A running server's two doors."""

    ingress: str
    admin: str
    # Loading the trusted certificates for nothing would cost more than a whole scenario.
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, verify=False))

    @property
    def healthy(self) -> bool:
        """True when both doors are open."""
        try:
            ingress = self._http.get(f"{self.ingress}/restate/health")
            return ingress.is_success and self._http.get(f"{self.admin}/health").is_success
        except httpx.TransportError:
            return False

    def register(self, uri: str, *, http: Literal["1.1", "2"] = "2") -> None:
        """Make an endpoint's handlers known."""
        body = {"uri": uri, "force": True, "use_http_11": http == "1.1"}
        self._http.post(f"{self.admin}/deployments", json=body).raise_for_status()

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the server's introspection tables."""
        accept = {"accept": "application/json"}
        answer = self._http.post(f"{self.admin}/query", json={"query": sql}, headers=accept)
        return answer.raise_for_status().json()["rows"]

    def cancel_invocation(self, invocation: str) -> None:
        """What `restate invocations cancel` does."""
        path = f"/invocations/{invocation}/cancel"
        self._http.patch(self.admin + path).raise_for_status()


@contextmanager
def running_restate(directory: Path, *, inactivity_timeout: str) -> Iterator[Restate]:
    """One partition, little memory. A handler that waits is suspended after `inactivity_timeout`,
    and is replayed from its journal when it goes on; "0s" does so at every await."""
    ports = Ports.free()
    settings = {
        "BASE_DIR": str(directory),
        "NODE_NAME": "test",
        "CLUSTER_NAME": "test",
        "LISTEN_MODE": "tcp",
        "BIND_IP": HOST,
        "ADVERTISED_HOST": HOST,
        "BIND_PORT": str(ports.fabric),
        "ADMIN__BIND_PORT": str(ports.admin),
        "INGRESS__BIND_PORT": str(ports.ingress),
        "DEFAULT_NUM_PARTITIONS": "1",
        "ROCKSDB_TOTAL_MEMORY_SIZE": "64 MB",
        "DISABLE_TELEMETRY": "true",
        "SHUTDOWN_TIMEOUT": "1s",
        "WORKER__INVOKER__INACTIVITY_TIMEOUT": inactivity_timeout,
        "DEFAULT_RETRY_POLICY__INITIAL_INTERVAL": "50ms",
        "DEFAULT_RETRY_POLICY__MAX_INTERVAL": "1s",
    }
    environment = {**os.environ, **{f"RESTATE_{name}": text for name, text in settings.items()}}
    log = directory / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [restate_server(), "--no-logo"], env=environment, stdout=output, stderr=output
        )
    doors = Restate(f"http://{HOST}:{ports.ingress}", f"http://{HOST}:{ports.admin}")
    try:

        def healthy() -> bool:
            assert server.poll() is None, log.read_text()[-2000:]
            return doors.healthy

        until(healthy, within=30)
        yield doors
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def served(application: Callable[[], AbstractAsyncContextManager[AsgiApp]]) -> Iterator[str]:
    """Serve an application from a thread; yields its address. The application is made, and left,
    on the thread's event loop."""
    port = Ports.free().endpoint
    stop: list[Callable[[], object]] = []

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))
        config = Config()
        config.bind = [f"{HOST}:{port}"]
        config.loglevel = "ERROR"
        config.graceful_timeout = 0.2
        config.h2_max_concurrent_streams = _FOR_EVER
        config.keep_alive_max_requests = _FOR_EVER
        config.keep_alive_timeout = _FOR_EVER
        async with application() as app:
            serving = loop.create_task(
                serve(app, config, mode="asgi", shutdown_trigger=stopped.wait)  # type: ignore[arg-type]
            )
            await stopped.wait()
            # It would wait for handlers that hang, as some have to.
            await asyncio.wait([serving], timeout=0.5)
            serving.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="endpoint", daemon=True)
    thread.start()
    try:
        until(lambda: in_use(port))
        yield f"http://{HOST}:{port}"
    finally:
        for signal in stop:
            signal()
        thread.join(10)
        assert not thread.is_alive()
